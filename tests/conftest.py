"""What every test runs under: strict JAX, four CPU devices, warnings as errors, a cache of compiled programs."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)


def pytest_configure(config):
    """Sets up JAX before any test module is imported: devices cannot be added once a backend is up."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells leave it to what they run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # also for the processes that tests start
    jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    _keep_compiled_programs()
    # Two test runs at the same time share the cache; one may read what the other has written half. It compiles then.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache:UserWarning")
    # Of a checkpoint that cannot be restored Orbax leaves tasks behind, which complain when they are collected; that
    # may be at any time, and they name no object.
    unnamed = r"ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning"
    config.addinivalue_line("filterwarnings", unnamed)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def _keep_compiled_programs():
    """A cache of this user's test runs alone, for this process and (by the environment) those that tests start."""
    folder = Path(tempfile.gettempdir()) / f"jaxtrack-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Compiled programs are code: a folder that somebody else has put there is not used.
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"


@pytest.fixture(autouse=True, scope="module")
def few_memory_maps():
    """Every compiled program keeps a few memory maps; a process that Linux gives no more (65,530) is aborted."""
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def test_data():
    """The folder of real data that `JAXTRACK_TEST_DATA` names; tests that need it are skipped without it."""
    folder = os.environ.get("JAXTRACK_TEST_DATA")
    if not folder:
        pytest.skip("JAXTRACK_TEST_DATA is not set: no real data to test with")
    if not Path(folder).is_dir():
        pytest.skip(f"JAXTRACK_TEST_DATA is {folder}, which is no folder")
    return Path(folder)


@pytest.fixture
def no_compilation_cache(monkeypatch, tmp_path):
    """For tests of the cache itself: none is set, and the user's cache folder is an empty one (which it returns)."""
    from jax.experimental.compilation_cache import compilation_cache

    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAXTRACK_COMPILATION_CACHE"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone even if there was nothing before
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
