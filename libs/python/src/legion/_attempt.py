"""An attempt that this agent holds."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from ._proto.outcome_pb2 import Outcome
from ._proto.session_pb2 import Assignment, AttemptOutcome, AttemptRef
from ._tracing import ExecuteSpan
from .context import TaskContext
from .errors import AttemptCanceled

AttemptKey = tuple[str, int]
# `lost`: no longer ours, or answered for without us; whatever its handler still does counts for nothing.
AttemptState = Literal["waiting", "running", "answered", "lost"]


@dataclass(eq=False)
class Attempt:
    """From its assignment until its outcome is acknowledged. Touched on the session's loop only, but for `context`."""

    assignment: Assignment
    context: TaskContext
    state: AttemptState = "waiting"
    received: float = field(default_factory=time.monotonic)
    started: float = 0.0
    memory_before: int = 0
    span: ExecuteSpan | None = None
    outcome: AttemptOutcome | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def key(self) -> AttemptKey:
        """Tells it from the others of a session, which are all of one namespace."""
        return self.assignment.task_id, self.assignment.attempt

    @property
    def ref(self) -> AttemptRef:
        """The same, as the contract has it."""
        return AttemptRef(task_id=self.assignment.task_id, attempt=self.assignment.attempt)

    def cancel(self, reason: AttemptCanceled) -> None:
        """Tells the handler to stop. Only the first time counts."""
        if self.context.cancellation is None:
            self.context.cancellation = reason
            self.context.canceled.set()

    def answer(self, outcome: Outcome, error: BaseException | None = None) -> AttemptOutcome:
        """Settles how it came out; `error` is what its handler raised."""
        self._stop_timers()
        self.state = "answered"
        if self.span is not None:
            self.span.end(outcome, error)
        task_id, attempt = self.key
        self.outcome = AttemptOutcome(task_id=task_id, attempt=attempt, outcome=outcome)
        return self.outcome

    def lose(self, reason: AttemptCanceled) -> None:
        """It is somebody else's from now on."""
        self._stop_timers()
        self.state = "lost"
        self.cancel(reason)
        if self.span is not None:
            self.span.lose(str(reason))

    def _stop_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


def context_of(assignment: Assignment) -> TaskContext:
    """Returns what its handler is told."""
    deadline = None
    if assignment.HasField("execution_timeout"):
        deadline = datetime.now(UTC) + execution_timeout(assignment)
    return TaskContext(
        task_id=assignment.task_id,
        attempt=assignment.attempt,
        max_attempts=assignment.max_attempts,
        capability=assignment.capability,
        user=assignment.user,
        labels={label.key: label.value for label in assignment.labels},
        deadline=deadline,
        traceparent=assignment.traceparent,
        tracestate=assignment.tracestate,
    )


def execution_timeout(assignment: Assignment) -> timedelta:
    """Returns how long it may run, from its assignment."""
    return assignment.execution_timeout.ToTimedelta()
