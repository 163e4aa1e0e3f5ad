import stat
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import UserError, compilation, disable_compilation_cache, enable_compilation_cache
from jaxtrack.compilation import Program


def test_a_program_is_compiled_once_for_each_shape():
    double = Program(lambda x: x + x)
    for size in (3, 3, 4, 3):
        np.testing.assert_array_equal(double(np.ones(size, np.float32)), np.full(size, 2, np.float32))
    assert double.compilations == 2
    assert double.compile_seconds > 0


@pytest.mark.parametrize(("limit", "slow"), [(0.1, True), (60.0, False)])
def test_compiling_is_said_where_it_takes_long_and_while_it_does(monkeypatch, limit, slow):
    """What comes from the cache is there at once, and nothing is said."""
    told, heard = threading.Event(), []

    def compiling(lowered):
        if slow:  # it does not end before it is said
            heard.append(told.wait(30))
        return lowered.compile()

    monkeypatch.setattr(compilation, "NOTICE_SECONDS", limit)
    monkeypatch.setattr(compilation, "_compile", compiling)
    double = Program(lambda x: x + x, notice=told.set)
    for _ in range(2):
        double(np.ones(2, np.float32))
    assert (heard, told.is_set()) == ([True] * slow, slow)


def test_whoever_runs_programs_of_others_hears_of_the_first_that_takes_long(monkeypatch):
    heard, said = [], threading.Semaphore(0)

    def compiling(lowered):
        heard.append(said.acquire(timeout=0.5))
        return lowered.compile()

    def notice(name):
        return lambda: (heard.append(name), said.release())

    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(compilation, "_compile", compiling)
    with compilation.telling(notice("all")):
        for size in (2, 3):
            Program(lambda x: x + x)(np.ones(size, np.float32))
        Program(lambda x: x + x, notice=notice("own"))(np.ones(2, np.float32))
    with compilation.telling(notice("too late")):
        pass
    Program(lambda x: x + x)(np.ones(4, np.float32))
    assert heard == ["all", True, False, "own", True, False]


@pytest.mark.parametrize("slow", [True, False])
def test_a_start_that_takes_long_is_told_once(monkeypatch, slow):
    heard, told = [], threading.Event()
    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.01 if slow else 30)
    with compilation.telling(lambda: heard.append("compiling"), lambda: (heard.append("start"), told.set())):
        for _ in range(2):
            with compilation.noticing_start():
                assert told.wait(30 if slow else 0.05) == slow
    with compilation.noticing_start():  # nobody wants to hear
        time.sleep(0.05)
    assert heard == ["start"] * slow


def test_donated_arguments_are_gone_afterwards():
    add = Program(lambda x, y: x + y, donate_argnums=(0,))
    state = jnp.ones((4,))
    add(state, np.ones(4, np.float32))
    assert state.is_deleted()


@pytest.mark.parametrize(
    "options",
    [{"xla_of_another_year": "1"}, {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_OF_ANOTHER_YEAR"}],
    ids=["option", "value"],
)
def test_an_option_or_a_value_that_this_xla_does_not_know_is_left_out(monkeypatch, options):
    monkeypatch.setattr(compilation, "_CPU_OPTIONS", options)
    np.testing.assert_array_equal(Program(lambda x: x + x)(np.ones(2, np.float32)), [2, 2])


def test_the_cache_is_on_by_default_in_a_folder_that_nobody_else_can_read(no_compilation_cache):
    Program(lambda x: x + x)(np.ones(2, np.float32))
    folder = no_compilation_cache / "jaxtrack" / "xla"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed(no_compilation_cache):
    folder = no_compilation_cache / "xla"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert enable_compilation_cache(folder) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_environment_or_a_call_switches_the_cache_off(no_compilation_cache, monkeypatch):
    monkeypatch.setenv("JAXTRACK_COMPILATION_CACHE", "0")
    assert enable_compilation_cache() is None
    monkeypatch.setenv("JAXTRACK_COMPILATION_CACHE", "1")
    disable_compilation_cache()
    assert enable_compilation_cache() is None
    assert not no_compilation_cache.exists()


def test_a_folder_that_the_user_gave_to_jax_is_left_as_it_is(no_compilation_cache, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    assert enable_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert not no_compilation_cache.exists()


def test_a_folder_of_somebody_else_is_refused(no_compilation_cache, monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 12345678)
    with pytest.raises(UserError, match="belongs to another user"):
        enable_compilation_cache(no_compilation_cache)
    assert jax.config.jax_compilation_cache_dir is None


def test_a_home_that_cannot_be_written_costs_nothing_but_time(no_compilation_cache, tmp_path):
    (tmp_path / "file").write_text("")
    assert enable_compilation_cache(tmp_path / "file" / "xla") is None
    assert not no_compilation_cache.exists()
