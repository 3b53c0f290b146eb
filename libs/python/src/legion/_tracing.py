"""The spans of agents and clients, with the names and attributes that all of Legion uses."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ._proto.outcome_pb2 import Outcome
from ._proto.session_pb2 import Assignment, Hello
from ._proto.task_pb2 import TaskSpec
from ._span import Attributes, Kind, Span, TraceStrings


def _starter() -> Callable[[str, Kind, TraceStrings | None, Attributes], Span] | None:
    try:
        from ._otel import OtelSpan
    except ImportError:
        return None
    return OtelSpan


_start = _starter()


class ExecuteSpan:
    """The span of one attempt here, under the assignment's. Without OpenTelemetry it does nothing."""

    def __init__(self, agent: Hello, assignment: Assignment) -> None:
        """Starts it."""
        self.parent = TraceStrings(assignment.traceparent, assignment.tracestate)
        self._span: Span | None = None
        if _start is None:
            return
        attributes = {
            **_messaging("process", "execute", assignment.capability, assignment.task_id),
            "messaging.message.body.size": len(assignment.task_data.data),
            "legion.namespace": agent.namespace or "default",
            "legion.attempt": assignment.attempt,
            "legion.agent.id": agent.agent_id,
            "legion.agent.name": agent.name,
            "legion.agent.version": agent.version,
        }
        self._span = _start(f"execute {assignment.capability}", "consumer", self.parent, attributes)

    def strings(self) -> TraceStrings:
        """Returns the context for what the handler calls."""
        strings = self._span.strings() if self._span is not None else self.parent
        return strings if strings.traceparent else self.parent

    def current(self) -> AbstractContextManager[object]:
        """Makes it the parent of spans that the handler makes."""
        return contextlib.nullcontext() if self._span is None else self._span.current()

    def end(self, outcome: Outcome, error: BaseException | None) -> None:
        """Ends it with what came out, and what was raised."""
        if self._span is None:
            return
        kind = outcome.WhichOneof("kind") or ""
        attributes: dict[str, str | int | bool] = {"legion.outcome": kind}
        if kind == "failed":
            attributes |= {"error.type": outcome.failed.code, "legion.retryable": outcome.failed.retryable}
            self._span.fail(outcome.failed.message, error)
        self._span.end(attributes)

    def lose(self, message: str) -> None:
        """Ends it: whatever comes out counts for nothing."""
        if self._span is not None:
            self._span.fail(message)
            self._span.end({"legion.outcome": "lost"})


@contextlib.contextmanager
def sending(spec: TaskSpec) -> Iterator[None]:
    """Makes the span of handing a task over, under the caller's, the parent of the task's."""
    if _start is None:
        yield
        return
    given = TraceStrings(spec.traceparent, spec.tracestate) if spec.traceparent else None
    attributes = {
        **_messaging("send", "submit", spec.capability, spec.task_id),
        "messaging.message.body.size": len(spec.task_data.data),
        "legion.namespace": spec.namespace or "default",
    }
    span = _start(f"send {spec.capability}", "producer", given, attributes)
    if (strings := span.strings()).traceparent:
        spec.traceparent, spec.tracestate = strings
    try:
        yield
    except BaseException as error:
        span.fail(str(error), error)
        raise
    finally:
        span.end({})


def _messaging(kind: str, operation: str, capability: str, task_id: str) -> dict[str, str | int | bool]:
    return {
        "messaging.system": "legion",
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": capability,
        "messaging.message.id": task_id,
    }
