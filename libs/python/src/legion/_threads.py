"""Threads for handlers."""

import queue
import threading
from collections.abc import Callable


class DaemonThreads:
    """Runs calls in threads, as many as are needed at once, that never keep the process from ending.

    `ThreadPoolExecutor` waits at exit for calls that nobody can stop, and has a fixed number of threads,
    which handlers that go on after they were canceled would use up.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Runs a call, which must not raise, at once."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._calls.put(call)

    def close(self) -> None:
        """Ends the threads once their calls have returned."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # and with it what it holds, while nothing comes
            with self._lock:
                self._idle += 1
