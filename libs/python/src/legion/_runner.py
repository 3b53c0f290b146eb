"""Runs attempts, whatever becomes of the stream they came by."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from . import _json, _messages
from ._attempt import Attempt, AttemptKey, context_of, execution_timeout
from ._execution import Execution, Handlers, Verdict
from ._memory import MemoryGauge
from ._outbox import Outbox
from ._progress import ProgressQueue
from ._proto.outcome_pb2 import Outcome
from ._proto.payload_pb2 import Payload
from ._proto.session_pb2 import Assignment, AttemptProgress, AttemptRef, Hello, Pause
from ._tracing import ExecuteSpan
from .errors import AttemptCanceled, TaskError

log = logging.getLogger("legion")

_MAX_OUTPUT_BYTES = 64 * 1024


class Runner:
    """Holds attempts from their assignment until their outcome is acknowledged. On the session's loop only."""

    def __init__(self, handlers: Handlers, agent: Hello, cancel_grace: float, wake: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._execution = Execution(handlers, self._loop, self._finished)
        self._agent = agent
        self._cancel_grace = cancel_grace
        self._wake = wake
        self._memory = MemoryGauge()
        self._waiting: list[Attempt] = []
        self.held: dict[AttemptKey, Attempt] = {}
        self.outbox = Outbox()
        self.progress = ProgressQueue()
        self.counts: Counter[str] = Counter()
        self.empty = asyncio.Event()
        """Set while nothing is held."""
        self.empty.set()

    def limit_results(self, max_bytes: int) -> None:
        """Larger results become failures."""
        self._execution.max_result_bytes = max_bytes

    @property
    def in_flight(self) -> int:
        """Attempts that wait or run: those whose outcome is only not yet acknowledged are not among them."""
        return len(self.held) - len(self.outbox)

    def accept(self, assignment: Assignment) -> None:
        """Holds it; it starts with `start`."""
        attempt = Attempt(assignment, context_of(assignment))
        former = self.held.get(attempt.key)
        if former is not None:
            # It may come again under its number while the run that was lost is still being stopped, or answered for.
            reason = former.context.cancellation
            if reason is None or reason.cause != "LEASE_LOST":
                return
            former.lose(reason)
            self.outbox.remove(former)
        self.held[attempt.key] = attempt
        self._waiting.append(attempt)
        self.empty.clear()

    def take_accepted(self) -> list[Attempt]:
        """Returns what was accepted since it was last asked, to be given to `start` when the acknowledgement is out.

        So a task that kills the process counts as received and uses up its attempts.
        """
        accepted, self._waiting = self._waiting, []
        return accepted

    def start(self, accepted: Iterable[Attempt]) -> None:
        """Runs their handlers."""
        for attempt in accepted:
            if attempt.state != "waiting":
                continue
            attempt.state = "running"
            attempt.started = time.monotonic()
            attempt.memory_before = self._memory.resident_bytes()
            attempt.span = ExecuteSpan(self._agent, attempt.assignment)
            attempt.context.traceparent, attempt.context.tracestate = attempt.span.strings()
            attempt.context.on_progress = self._progress_sink(attempt)
            if attempt.assignment.HasField("execution_timeout"):
                left = execution_timeout(attempt.assignment).total_seconds() + attempt.received - attempt.started
                attempt.timers.append(self._loop.call_later(left, self._time_out, attempt))
            self._execution.start(attempt)

    def cancel(self, key: AttemptKey, reason: AttemptCanceled) -> None:
        """The mesh asks for an attempt to stop."""
        attempt = self.held.get(key)
        if attempt is None or attempt.context.cancellation is not None:
            return
        attempt.cancel(reason)
        if attempt.state == "waiting":
            self._answer(attempt, _messages.canceled(reason))
        elif attempt.state == "running":
            attempt.timers.append(self._loop.call_later(self._cancel_grace, self._give_up, attempt))
            self._execution.cancel(attempt)

    def cancel_all(self) -> None:
        """The agent stops: whatever still runs is asked to stop too, and answered for after the grace."""
        for key in list(self.held):
            self.cancel(key, AttemptCanceled("AGENT_STOPPED"))

    def acknowledge(self, seq: int) -> None:
        """The mesh has dealt with all outcomes sent in frames up to `seq`."""
        self._forget(self.outbox.acknowledge(seq))

    def rewind(self, refs: Iterable[AttemptRef], reason: str) -> int:
        """One stream is over and another begins. Returns how many attempts were lost.

        What `refs` name is no longer ours: the handlers are asked to stop, the outcomes are not sent. Every other
        outcome that is not acknowledged is sent on the next stream.
        """
        lost = [attempt for ref in refs if (attempt := self.held.get((ref.task_id, ref.attempt))) is not None]
        for attempt in lost:
            attempt.lose(AttemptCanceled("LEASE_LOST", reason))
            self._execution.cancel(attempt)
        self.outbox.rewind()
        self._forget(lost)
        return len(lost)

    def close(self) -> None:
        """Lets everything go."""
        self.rewind([attempt.ref for attempt in self.held.values()], "The agent has stopped.")
        self._execution.close()

    def _forget(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            del self.held[attempt.key]
        if not self.held:
            self.empty.set()

    def _time_out(self, attempt: Attempt) -> None:
        # The mesh says so too, and first, unless it cannot be reached.
        self.cancel(attempt.key, AttemptCanceled("TIMEOUT"))

    def _give_up(self, attempt: Attempt) -> None:
        if attempt.state != "running" or attempt.context.cancellation is None:
            return
        task_id, number = attempt.key
        log.warning(
            "a handler of %s goes on after it was asked to stop; its slot is given to others (task %s, attempt %d, %s)",
            *(attempt.assignment.capability, task_id, number, attempt.context.cancellation.cause),
        )
        self._answer(attempt, self._cancel_answer(attempt.context.cancellation))

    def _finished(self, attempt: Attempt, verdict: Verdict) -> None:
        if attempt.state != "running":
            return
        reason = attempt.context.cancellation
        if reason is not None and (isinstance(verdict, BaseException) or reason.cause != "AGENT_STOPPED"):
            self._answer(attempt, self._cancel_answer(reason))
        elif isinstance(verdict, bytes):
            self._answer(attempt, _messages.completed(verdict))
        else:
            if not isinstance(verdict, TaskError):
                message = "a handler of %s raised (task %s, attempt %d)"
                log.warning(message, attempt.assignment.capability, *attempt.key, exc_info=verdict)
            self._answer(attempt, _messages.failed(verdict, self._execution.max_result_bytes), verdict)

    def _cancel_answer(self, reason: AttemptCanceled) -> Outcome:
        # If the mesh has not heard of the timeout yet, `canceled` would be taken for somebody's wish.
        return _messages.timed_out(reason) if reason.cause == "TIMEOUT" else _messages.canceled(reason)

    def _answer(self, attempt: Attempt, outcome: Outcome, error: BaseException | None = None) -> None:
        ran = attempt.state == "running"
        answer = attempt.answer(outcome, error)
        context = attempt.context
        if ran:
            answer.stats.duration.CopyFrom(_messages.duration(time.monotonic() - attempt.started))
            answer.stats.memory_before_bytes = attempt.memory_before
            answer.stats.memory_after_bytes = self._memory.resident_bytes()
            for unit, amount in context.costs.items():
                answer.stats.costs.add(unit=unit, amount=amount)
        if context.pause is not None:
            seconds, limit = context.pause
            answer.pause.CopyFrom(Pause(retry_delay=_messages.delay(seconds), limit=_messages.cut(limit, 128)))
        self.counts[outcome.WhichOneof("kind") or ""] += 1
        self.outbox.add(attempt)
        self._wake()

    def _progress_sink(self, attempt: Attempt) -> Callable[[float, str, Any], None]:
        task_id, number = attempt.key

        def report(fraction: float, message: str, output: Any) -> None:
            progress = AttemptProgress(
                task_id=task_id, attempt=number, fraction=fraction, message=_messages.cut(message, 1024)
            )
            data = None if output is None else _json.dump(output)
            if data is not None and len(data) > _MAX_OUTPUT_BYTES:
                log.warning("partial output of %d bytes is left out: the mesh takes %d", len(data), _MAX_OUTPUT_BYTES)
            elif data is not None:
                progress.output.CopyFrom(Payload(data=data))
            self._loop.call_soon_threadsafe(self._note, attempt, progress)

        return report

    def _note(self, attempt: Attempt, progress: AttemptProgress) -> None:
        if attempt.state == "running":
            self.progress.add(progress)
            self._wake()
