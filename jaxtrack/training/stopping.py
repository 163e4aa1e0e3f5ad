"""How a training is asked to stop, and what may not be interrupted."""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass
class Stop:
    """Whether somebody wants the training to end early; it saves first.

    Attributes:
      asked: whether it is to end.
      interrupted: whether that was by Ctrl-C.
    """

    asked: bool = False
    interrupted: bool = False


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Inside, SIGTERM and the first Ctrl-C ask the training to stop, the second Ctrl-C raises `KeyboardInterrupt`.

    SIGTERM is what clusters send before they take a machine back.
    """
    stop = Stop()

    def ask(*_: Any) -> None:
        stop.asked = True
        _tell(_TERMINATED)

    def interrupt(*_: Any) -> None:
        if stop.interrupted:
            raise KeyboardInterrupt("interrupted: the same command goes on from the last checkpoint, if there is one")
        stop.asked = stop.interrupted = True
        _tell(_INTERRUPTED)

    before = {number: signal.signal(number, act) for number, act in ((signal.SIGTERM, ask), (signal.SIGINT, interrupt))}
    try:
        yield stop
    finally:
        for number, act in before.items():
            signal.signal(number, act)


_TERMINATED = b"SIGTERM: stopping after this step, with a checkpoint\n"
_INTERRUPTED = b"stopping after this step, with a checkpoint; Ctrl-C once more stops now, without one\n"


def _tell(notice: bytes) -> None:
    """Says it at once. Not by print: the signal may have come in the middle of one."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, notice)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, Ctrl-C waits: what it would have done is done at the end."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    waiting: list[tuple[Any, ...]] = []
    before = signal.signal(signal.SIGINT, lambda *about: waiting.append(about))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting and callable(before):
            before(*waiting[0])
