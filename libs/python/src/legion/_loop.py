"""Event loops in threads of their own."""

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread, for coroutines from any thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Runs it on this loop. Canceling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def wait_for(self, coroutine: Coroutine[Any, Any, T], instead: str) -> T:
        """Runs it on this loop and waits for it.

        Raises:
            RuntimeError: Called on an event loop, which it would block; `instead` is what to await there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            future = self.submit(coroutine)
            try:
                return future.result()
            except KeyboardInterrupt:
                future.cancel()
                raise
        coroutine.close()
        raise RuntimeError(f"This blocks the event loop that it is called on: await {instead}.")

    async def awaited(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs it on this loop; awaited on another."""
        return await asyncio.wrap_future(self.submit(coroutine))

    def stop(self) -> None:
        """Ends the loop and waits a second for its thread."""
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(1)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=0.5))
        self.loop.close()


_lock = threading.Lock()
_session_loop: LoopThread | None = None


def session_loop() -> LoopThread:
    """Returns the loop of all sessions and calls of this process.

    It is apart from the loops where handlers run, so that none of them can hold up a heartbeat; and it is one for all,
    because gRPC serves one loop best.
    """
    global _session_loop
    with _lock:
        if _session_loop is None:
            _session_loop = LoopThread("legion-session")
            atexit.register(_session_loop.stop)
        return _session_loop


def _forget() -> None:
    global _session_loop, _lock
    _session_loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    # A forked child has none of its parent's threads.
    os.register_at_fork(after_in_child=_forget)
