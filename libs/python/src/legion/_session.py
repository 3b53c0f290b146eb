"""Keeps a session through broken streams."""

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ._backoff import full_jitter
from ._proto.session_pb2 import CancelCause as Cause
from ._proto.session_pb2 import ConnectResponse, Hello, Welcome
from ._runner import Runner
from ._stream import Pulse, Stream
from .errors import AgentError, AttemptCanceled, CancelCause, LegionError

log = logging.getLogger("legion")

SessionState = Literal["starting", "active", "suspended", "stopped"]

# The same answer would come again, whichever replica gave it.
_LASTING = {"INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"}
# An address that swallows everything gives no other sign.
_HELLO_LIMIT = 10.0
_CAUSES: dict[int, CancelCause] = {
    Cause.CANCEL_CAUSE_TIMEOUT: "TIMEOUT",
    Cause.CANCEL_CAUSE_LEASE_LOST: "LEASE_LOST",
}


class SessionEvents(Protocol):
    """Who is told how it goes. On the session's loop."""

    def on_state(self, state: SessionState) -> None:
        """It has changed."""

    def on_welcome(self, session_id: str, resumed: bool) -> None:
        """A stream carries the session."""

    def on_drain(self, reason: str) -> None:
        """The mesh asks this agent to end."""


@dataclass
class _Wish:
    """What the session is to do next; `changed` is set with each of them."""

    changed: asyncio.Event
    move: bool = False
    end: bool = False


class Session:
    """Connects, resumes, moves to another Registry, gives up when it was replaced."""

    def __init__(self, targets: Sequence[str], hello: Hello, runner: Runner, events: SessionEvents) -> None:
        self._targets = itertools.cycle(random.sample(targets, len(targets)))
        self._hello = hello
        self._runner = runner
        self._events = events
        self._wish = _Wish(asyncio.Event())
        self._stream: Stream | None = None
        self._pulse = Pulse()
        self._drain_reason: str | None = None
        self._failures = 0
        self._endings: set[asyncio.Task[None]] = set()
        self.session_id = ""
        self.state: SessionState = "starting"

    async def run(self) -> None:
        """Lives until `end`.

        Raises:
            AgentError: Trying again would not help.
        """
        try:
            stream = await self._connect(None)
            while stream is not None:
                stream = await self._carry(stream)
            await asyncio.gather(*self._endings)
        finally:
            self._runner.close()
            self._become("stopped")

    def wake(self) -> None:
        """There is something to send."""
        if self._stream is not None:
            self._stream.wake()

    def drain(self, reason: str) -> None:
        """Tells the mesh, now and after every reconnect, that nothing new is taken."""
        self._drain_reason = reason
        if self._stream is not None:
            self._stream.drain(reason)

    def end(self) -> None:
        """Ends the stream, and the session with it."""
        self._wish.end = True
        self._wish.changed.set()

    def on_frame(self, frame: ConnectResponse) -> None:
        """Does what a frame asks for, but for assignments."""
        for cancel in frame.cancels:
            reason = AttemptCanceled(_CAUSES.get(cancel.cause, "REQUESTED"), cancel.reason)
            self._runner.cancel((cancel.task_id, cancel.attempt), reason)
        for rejection in frame.rejections:
            level = logging.WARNING if rejection.reason == "INVALID_OUTCOME" else logging.DEBUG
            refused = (rejection.task_id, rejection.attempt, rejection.reason, rejection.message)
            log.log(level, "the outcome of task %s, attempt %d, was not recorded: %s: %s", *refused)
        if frame.HasField("drain"):
            if frame.drain.reconnect:
                log.info("the Registry goes away, the session moves to another: %s", frame.drain.reason)
                self._wish.move = True
                self._wish.changed.set()
            else:
                log.info("the mesh asks this agent to end: %s", frame.drain.reason)
                self._events.on_drain(frame.drain.reason)

    async def _carry(self, stream: Stream) -> Stream | None:
        """Returns the stream that takes over; None when the session has ended."""
        carrying = asyncio.create_task(stream.carry(self._pulse))
        try:
            while not carrying.done() and not self._wish.end:
                if not self._wish.move:
                    await self._wait(carrying, None)
                elif (successor := await self._move(stream, carrying)) is not None:
                    return successor
            if self._wish.end:
                await stream.finish(carrying)
                return None
            self._become("suspended")
            return await self._connect(self._broken(stream, carrying))
        except BaseException:
            carrying.cancel()
            raise

    async def _move(self, stream: Stream, carrying: asyncio.Task[None]) -> Stream | None:
        """Tries once to go on elsewhere, keeping the old stream until that is sure."""
        # What came or went on the old stream after the new hello would not be in it.
        stream.hold()
        try:
            successor = await self._open()
        except LegionError as error:
            self._failed(error)
            stream.release()
            await self._wait(carrying, self._delay(error))
            return None
        self._wish.move = False
        ending = asyncio.create_task(stream.finish(carrying))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return successor

    async def _connect(self, error: LegionError | None) -> Stream | None:
        """Tries until a stream carries the session; None when it is to end."""
        if error is not None:
            await self._wait(None, self._delay(error))
        while not self._wish.end:
            opening = asyncio.create_task(self._open())
            await self._wait(opening, None)
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
                return None
            try:
                return opening.result()
            except LegionError as failure:
                self._failed(failure)
                await self._wait(None, self._delay(failure))
        return None

    async def _open(self) -> Stream:
        stream = Stream(next(self._targets), self._runner, self)
        hello = Hello()
        hello.CopyFrom(self._hello)
        hello.session_id = self.session_id
        if self.session_id:
            hello.in_flight.extend(attempt.ref for attempt in self._runner.held.values())
        try:
            self._welcome(stream, await stream.open(hello, min(self._pulse.lease, _HELLO_LIMIT)))
        except LegionError as error:
            error.add_note(f"at {stream.target}")
            raise
        return stream

    def _welcome(self, stream: Stream, welcome: Welcome) -> None:
        begins = not self.session_id
        reason = "The mesh has given it to another agent."
        lost = self._runner.rewind(welcome.lost, reason) if welcome.resumed else self._lose_all()
        self._stream = stream
        self._failures = 0
        self.session_id = welcome.session_id
        beat = welcome.heartbeat_interval.ToTimedelta().total_seconds()
        lease = welcome.lease_duration.ToTimedelta().total_seconds()
        self._pulse = Pulse(beat or Pulse.heartbeat, lease or Pulse.lease)
        if welcome.max_result_bytes > 0:
            self._runner.limit_results(welcome.max_result_bytes)
        if self._drain_reason is not None:
            stream.drain(self._drain_reason)
        stream.wake()
        what = "resumed" if welcome.resumed else "begun" if begins else "begun anew, the former one is gone"
        log.info("session %s at %s: %s, %d attempts lost", self.session_id, stream.target, what, lost)
        self._become("active")
        self._events.on_welcome(self.session_id, welcome.resumed)

    def _broken(self, stream: Stream, carrying: asyncio.Task[None]) -> LegionError:
        """The stream that carried the session has ended."""
        error = carrying.exception() or LegionError("The Registry ended it.", code="UNAVAILABLE")
        if not isinstance(error, LegionError):
            raise error
        moving, self._stream, self._wish.move = self._wish.move, None, False
        # An old stream ends because of the hello on the new one, and says anything.
        if moving:
            return error
        if error.reason == "SESSION_FENCED":
            raise self._fenced()
        log.warning("the stream to %s broke (%s), %d attempts held", stream.target, error, len(self._runner.held))
        if error.code == "INVALID_ARGUMENT" or error.reason == "SESSION_EXPIRED":
            # Said again, the same would be refused again: so what is held is let go.
            self._lose_all()
            self.session_id = ""
        return error

    def _failed(self, error: LegionError) -> None:
        """Nobody welcomed the session."""
        if error.reason == "SESSION_FENCED":
            raise self._fenced() from error
        # Once welcomed, an agent bears with a proxy that knows nothing of it for a moment.
        if error.code in _LASTING and (self.state == "starting" or error.code == "INVALID_ARGUMENT"):
            violations = "".join(f"\n  {each.field}: {each.description}" for each in error.violations)
            message = f"The Registry refuses the agent {self._hello.agent_id}: {error}{violations}"
            raise AgentError(error.reason or "REFUSED", message) from error
        self._failures += 1
        # The 1st, 2nd, 4th, 8th … in a row: a Registry that is away for an hour shall not fill the log.
        if self._failures & (self._failures - 1) == 0:
            where = " ".join(getattr(error, "__notes__", []))
            log.warning("cannot reach the Registry %s, trying on (failure %d): %s", where, self._failures, error)

    def _fenced(self) -> AgentError:
        agent_id = self._hello.agent_id
        message = (
            f"Another process uses the agent id {agent_id}: its session is newer and has replaced this one. "
            "Give every process an agent id of its own."
        )
        return AgentError("SESSION_FENCED", message)

    def _lose_all(self) -> int:
        held = [attempt.ref for attempt in self._runner.held.values()]
        return self._runner.rewind(held, "The agent's session has ended.")

    def _delay(self, error: LegionError) -> float:
        return max(full_jitter(self._failures + 1), error.retry_delay or 0.0)

    async def _wait(self, task: "asyncio.Task[None] | asyncio.Task[Stream] | None", seconds: float | None) -> None:
        """Waits for whichever comes first: the task's end, a wish, the time."""
        if self._wish.end:
            return
        self._wish.changed.clear()
        wish = asyncio.create_task(self._wish.changed.wait())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait({wish} if task is None else {wish, task}, timeout=seconds, return_when="FIRST_COMPLETED")
        wish.cancel()

    def _become(self, state: SessionState) -> None:
        if self.state not in {state, "stopped"}:
            self.state = state
            self._events.on_state(state)
