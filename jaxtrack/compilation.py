"""Compiling programs ahead of their first call, and the cache of compiled programs on disk."""

import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxtrack.errors import UserError

# XLA's default convolution path on CPU is 2-6x slower than Eigen's for large kernels and strides; handing the newer
# library nothing but reductions and matrix products, these one by one, gives Eigen's path back. Products that are fused
# with their neighbours (LIBRARY_FUSION_TYPE_DOT) take 1.6 times as long. Chosen per program: an unknown entry in
# XLA_FLAGS would abort the process, an unknown option here raises and is left out.
_LIBRARY = ("LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", "LIBRARY_FUSION_TYPE_REDUCE")
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ",".join(_LIBRARY)}
_UNKNOWN = ("No such compile option", "is not a valid enum value")
NOTICE_SECONDS = 5.0  # what comes from the cache on disk is there by then, also on busy cores


class _Notices(NamedTuple):
    """What is called while a program compiles for long, and while a tracker's start takes long; see `telling`."""

    compiling: Callable[[], None] | None = None
    starting: Callable[[], None] | None = None


_told: contextvars.ContextVar[_Notices] = contextvars.ContextVar("told", default=_Notices())  # noqa: B039


class OutOfMemoryError(UserError):
    """A program needs more memory than there is, as far as can be told before it runs."""


def out_of_memory(error: Exception) -> bool:
    """Whether what was raised says that a program does not fit into memory, before it runs or as it runs."""
    # Other programs and processes need memory too: what should have fitted may fail as it runs.
    return isinstance(error, OutOfMemoryError) or "RESOURCE_EXHAUSTED" in str(error)


class Program:
    """A jitted function that is compiled once per signature, the compile seconds told apart from the run's.

    Attributes:
      compilations: how many programs were compiled.
      compile_seconds: what compiling them took, in seconds.
    """

    def __init__(
        self,
        function: Callable,
        *,
        donate_argnums: tuple[int, ...] = (),
        transform: Any = jax.jit,
        devices: Sequence[Any] | None = None,
        notice: Callable[[], None] | None = None,
    ):
        """Prepares a program; nothing is compiled yet.

        Args:
          function: what is compiled.
          donate_argnums: arguments whose buffers may be used anew.
          transform: `jax.jit`, or a `jax.pmap` that takes the same keywords.
          devices: where it runs, by default on the first device.
          notice: called, in another thread, while compiling takes longer than `NOTICE_SECONDS`, once each time; by
            default what `telling` has.
        """
        # XLA cannot reuse donated buffers for every output; asking is right all the same.
        self._jitted = transform(function, donate_argnums=donate_argnums)
        self._devices = devices
        self._notice = notice
        self._compiled: dict[Any, Any] = {}
        self.compilations = 0
        self.compile_seconds = 0.0

    def compiled(self, *args: Any) -> Any:
        """The executable for arguments of these shapes and dtypes, compiled if this is the first time.

        Raises:
          OutOfMemoryError: if it will not fit into the devices' memory.
        """
        leaves, structure = jax.tree.flatten(args)
        signature = (structure, tuple([(leaf.shape, leaf.dtype) for leaf in leaves]))
        if signature not in self._compiled:
            enable_compilation_cache()
            start = time.perf_counter()
            lowered = self._jitted.lower(*args)
            notice = self._notice or _told.get().compiling
            with _noticing(notice):
                executable = _compile(lowered)
            _check_memory(executable, list(self._devices or jax.local_devices()[:1]))
            self._compiled[signature] = executable
            self.compile_seconds += time.perf_counter() - start
            self.compilations += 1
        return self._compiled[signature]

    def __call__(self, *args: Any) -> Any:
        """Runs the program, compiling it first where these shapes are new."""
        if jax.process_count() > 1:
            # Compiled ahead of time, a pmap asks every process for the arrays of all, so there is no check of memory.
            # And no cache unless JAX is given a folder: only the first process writes to it. Where the others do not
            # see what it wrote, they compile while it does not, and on GPUs wait for its share of XLA's autotuning.
            return self._jitted(*args)
        return self.compiled(*args)(*args)


def compiling(what: str) -> str:
    """What a notice says."""
    return f"compiling {what}: up to minutes, where it was never compiled before"


def starting(what: str) -> str:
    """What a notice says."""
    return f"{what}: at the first frame, up to minutes for trackers that learn in it"


@contextlib.contextmanager
def telling(notice: Callable[[], None], start_notice: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside, `notice` is that of all programs of this thread that have none of their own; called once, for the first
    one that takes long. `start_notice` is that of trackers' starts, in the same way.
    """
    token = _told.set(_Notices(_once(notice), _once(start_notice) if start_notice else None))
    try:
        yield
    finally:
        _told.reset(token)


def _once(notice: Callable[[], None]) -> Callable[[], None]:
    waiting = [notice]

    def once() -> None:
        while waiting:
            waiting.pop()()

    return once


def noticing_start() -> contextlib.AbstractContextManager[None]:
    """Inside, a tracker starts on a first frame; what `telling` has for it is called if that takes long."""
    return _noticing(_told.get().starting)


@contextlib.contextmanager
def _noticing(notice: Callable[[], None] | None) -> Iterator[None]:
    """Calls `notice` if what happens inside takes long; whether a program is in the cache is known only afterwards."""
    if notice is None:
        yield
        return
    timer = threading.Timer(NOTICE_SECONDS, notice)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _compile(lowered: Any) -> Any:
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=_CPU_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if not any(reason in str(error) for reason in _UNKNOWN):
            raise
        return lowered.compile()


def _check_memory(executable: Any, devices: Sequence[Any]) -> None:
    analysis = executable.memory_analysis()
    if analysis is None:
        return
    sizes = (analysis.argument_size_in_bytes, analysis.output_size_in_bytes, analysis.temp_size_in_bytes)
    needed, there = sum(sizes) - analysis.alias_size_in_bytes, _memory_bytes(devices)
    if there is not None and needed > there:
        raise OutOfMemoryError(
            f"the program needs {needed / 2**30:.1f} GiB on each device, a {devices[0].device_kind} has "
            f"{there / 2**30:.1f} GiB"
        )


def _memory_bytes(devices: Sequence[Any]) -> int | None:
    """Memory of one device, in bytes; devices of the CPU share the machine's. None where it cannot be told."""
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    if devices[0].platform != "cpu" or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)


def enable_compilation_cache(folder: Path | None = None) -> Path | None:
    """Keeps compiled programs on disk, in the user's cache folder (mode 0700), and returns the folder.

    Nothing is done (and None returned) when the user has set JAX's own `jax_compilation_cache_dir`, or has switched
    the cache off by `JAXTRACK_COMPILATION_CACHE=0` or `disable_compilation_cache`.

    Args:
      folder: where to keep them; by default `$XDG_CACHE_HOME/jaxtrack/xla` or `~/.cache/jaxtrack/xla`.

    Raises:
      UserError: if the folder belongs to somebody else. Compiled programs are code: only one's own are loaded.
    """
    if os.environ.get("JAXTRACK_COMPILATION_CACHE", "1") == "0" or jax.config.jax_compilation_cache_dir:  # type: ignore[attr]
        return None
    if folder is None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "jaxtrack" / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UserError(f"the compilation cache {folder} belongs to another user: remove it or set XDG_CACHE_HOME")
        folder.chmod(0o700)
    except OSError:
        return None  # A home that cannot be written costs compile time, nothing else.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def disable_compilation_cache() -> None:
    """Compiles everything anew in this process and leaves nothing on disk."""
    os.environ["JAXTRACK_COMPILATION_CACHE"] = "0"
    jax.config.update("jax_compilation_cache_dir", None)
