"""How a process that is an agent is asked to end."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from ._life import Life

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stopped_by_signals(loop: asyncio.AbstractEventLoop, life: Life, timeout: float) -> Iterator[None]:
    """The first signal stops the agent in order, a second one ends the process at once. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if stopping:
            os._exit(1)
        stopping.append(loop.create_task(life.awaited(life.stopped(timeout))))

    former = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        _handle(loop, number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _handle(loop: asyncio.AbstractEventLoop, number: signal.Signals, stop: Callable[[], None]) -> None:
    try:
        loop.add_signal_handler(number, stop)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
