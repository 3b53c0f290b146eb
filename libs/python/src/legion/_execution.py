"""Where handlers run: plain functions in threads, coroutines on the agent's loop."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from . import _json
from ._attempt import Attempt
from ._handlers import Handler, is_async
from ._threads import DaemonThreads
from .context import TaskContext

log = logging.getLogger("legion")

# What came of it: the result as JSON, or what was raised.
Verdict = bytes | BaseException


class Handlers(Protocol):
    """Knows the handler of each capability."""

    def handler_of(self, capability: str) -> Handler:
        """Returns it, a coroutine function if it is to run on the loop. Raises what its tasks are to fail with."""

    def handler_loop(self) -> asyncio.AbstractEventLoop:
        """Returns the loop for coroutines."""

    def on_begin(self, context: TaskContext) -> None:
        """A handler begins; called where it runs."""

    def on_end(self, context: TaskContext, error: BaseException | None) -> None:
        """It has ended."""


class Execution:
    """Runs handlers away from the session's loop, on which it is used and answers."""

    def __init__(
        self,
        handlers: Handlers,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Attempt, Verdict], None],
    ) -> None:
        self._handlers = handlers
        self._loop = loop
        self._done = done
        self._threads = DaemonThreads("legion-handler")
        self._cancels: dict[Attempt, Callable[[], None]] = {}
        self.max_result_bytes = 2**31

    def start(self, attempt: Attempt) -> None:
        """Runs its handler. Its verdict comes later, never within this call."""
        try:
            handler = self._handlers.handler_of(attempt.assignment.capability)
        except Exception as error:
            self._loop.call_soon(self._done, attempt, error)
            return
        if is_async(handler):
            self._start_coroutine(attempt, handler)
        else:
            self._threads.submit(lambda: self._run_in_thread(attempt, handler))

    def cancel(self, attempt: Attempt) -> None:
        """Cancels it if it is a coroutine; in a thread it looks at its context."""
        if (cancel := self._cancels.pop(attempt, None)) is not None:
            cancel()

    def close(self) -> None:
        """Ends the threads once their handlers have returned."""
        self._threads.close()

    def _start_coroutine(self, attempt: Attempt, handler: Handler) -> None:
        loop = self._handlers.handler_loop()
        tasks: list[asyncio.Task[None]] = []  # none or one; touched on that loop only

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled():  # before its first step, so it has not told anything itself
                self._tell(attempt, asyncio.CancelledError())

        def begin() -> None:
            task = loop.create_task(self._run_on_loop(attempt, handler))
            tasks.append(task)
            task.add_done_callback(ended)
            if attempt.context.canceled.is_set():
                task.cancel()

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError as error:  # that loop is closed
            self._loop.call_soon(self._done, attempt, error)
            return
        self._cancels[attempt] = lambda: _call_on(loop, cancel)

    async def _run_on_loop(self, attempt: Attempt, handler: Handler) -> None:
        verdict: Verdict
        try:
            with _current(attempt):
                self._handlers.on_begin(attempt.context)
                result = await handler(self._data(attempt), attempt.context)
            verdict = _json.write_result(result, self.max_result_bytes)
        except BaseException as error:  # what a handler raises is the task's failure, sys.exit() included
            verdict = error
        self._ended(attempt, verdict)

    def _run_in_thread(self, attempt: Attempt, handler: Handler) -> None:
        verdict: Verdict
        try:
            with _current(attempt):
                self._handlers.on_begin(attempt.context)
                result = handler(self._data(attempt), attempt.context)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("The handler is a plain function that returned a coroutine; make it `async def`.")
            verdict = _json.write_result(result, self.max_result_bytes)
        except BaseException as error:
            verdict = error
        self._ended(attempt, verdict)

    def _data(self, attempt: Attempt) -> dict[str, Any]:
        return _json.read_task_data(attempt.assignment.task_data.data)

    def _ended(self, attempt: Attempt, verdict: Verdict) -> None:
        try:
            self._handlers.on_end(attempt.context, verdict if isinstance(verdict, BaseException) else None)
        except Exception:
            log.exception("on_end raised")
        self._tell(attempt, verdict)

    def _tell(self, attempt: Attempt, verdict: Verdict) -> None:
        _call_on(self._loop, lambda: self._finish(attempt, verdict))

    def _finish(self, attempt: Attempt, verdict: Verdict) -> None:
        self._cancels.pop(attempt, None)
        self._done(attempt, verdict)


def _current(attempt: Attempt) -> AbstractContextManager[object]:
    return contextlib.nullcontext() if attempt.span is None else attempt.span.current()


def _call_on(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    # A closed loop has nobody left to be told.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
