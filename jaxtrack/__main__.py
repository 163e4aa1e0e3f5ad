"""`python -m jaxtrack COMMAND …`, or `jaxtrack COMMAND …` where the package is installed."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import jax

from jaxtrack import commands
from jaxtrack.errors import UserError

_USER_ERROR, _INTERRUPTED = 2, 130
_XLA_LOG = "TF_CPP_MIN_LOG_LEVEL"


def main(argv: Sequence[str] | None = None, *, prog: str = "jaxtrack") -> int:
    """Runs a command and returns the exit code: 2 after a user's mistake, 130 after Ctrl-C.

    Args:
      argv: the command and its arguments; by default those of the process.
      prog: how usage texts call the program.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(commands.usage(prog))
        return 0 if arguments else _USER_ERROR
    return guarded(lambda: commands.find(arguments[0]).run(arguments[1:], prog=f"{prog} {arguments[0]}"))


def script(command: str) -> int:
    """Runs `command` for a script of its own, such as evaluate.py, with the arguments of the process."""
    return guarded(lambda: commands.find(command).run(sys.argv[1:], prog=f"{command}.py"))


def entry() -> NoReturn:
    """`main` as a program of its own."""
    leave(main())


def leave(code: int) -> NoReturn:
    """Ends the process with an exit code.

    After Ctrl-C at once, all being closed: XLA may still be compiling in threads of its own, for which the
    interpreter's end waits, and in which it has crashed. Processes of one training leave one another in JAX's way.
    """
    if code == _INTERRUPTED and not jax.distributed.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def guarded(run: commands.Runnable) -> int:
    """Calls `run` and turns what a user may meet into a sentence and an exit code instead of a traceback."""
    _hush_xla()
    try:
        run()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return _INTERRUPTED
    except SystemExit as end:  # the parser of the command line has said what was wrong, or printed the help
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {_printable(str(error.filename))}: {error.strerror}", file=sys.stderr)
        return _USER_ERROR
    return 0


def _hush_xla() -> None:
    """Leaves of XLA's log what ends the process: its alarms of slow compiling look like errors of ours.

    Errors that can be told are raised. Whoever has chosen a level keeps it; 1 is what JAX chooses as it is imported.
    """
    if os.environ.get(_XLA_LOG) != "1" or jax.config.jax_logging_level != "NOTSET":  # type: ignore[attr]
        return
    os.environ[_XLA_LOG] = "3"  # for processes that this one starts; here it has been read
    jax.config.update("jax_logging_level", "CRITICAL")
    jax.config.update("jax_logging_level", "NOTSET")  # JAX's own warnings are shown as before, XLA's level stays


def _printable(text: str) -> str:
    """A message without what a terminal would take for a command; names from somebody's file stand in messages."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


if __name__ == "__main__":
    entry()
