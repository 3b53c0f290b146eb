"""A task as the contract has it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from . import _json
from ._messages import duration
from ._options import labels_of
from ._proto.cost_pb2 import Cost
from ._proto.payload_pb2 import Payload
from ._proto.task_pb2 import RetryPolicy as RetryPolicyMessage
from ._proto.task_pb2 import TaskSpec, WhenLimited
from .errors import LegionError


@dataclass(frozen=True)
class RetryPolicy:
    """What happens after a retryable failure; what is None has the mesh's default.

    Attributes:
        max_attempts: Attempts in all, the first included. Default 3; at most 100.
        initial_delay: Before the first retry, in seconds. Default 1; at most 24 h.
        max_delay: The longest wait, in seconds. Default 60; at most 24 h.
        factor: Growth from one retry to the next. Default 2; 1 to 100.
    """

    max_attempts: int | None = None
    initial_delay: float | None = None
    max_delay: float | None = None
    factor: float | None = None


class TaskOptions(TypedDict, total=False):
    """What may be said about a task beside what it is."""

    namespace: str
    """The tenant. Default `default`."""
    priority: int
    """Higher runs first. -1,000 to 1,000; default 0."""
    user: str
    """Whom the task is for; limits may be per user."""
    labels: Mapping[str, str]
    required_labels: Mapping[str, str]
    """Only an agent that has all these labels may run it."""
    run_time: datetime
    """Not before this time. Without a time zone it is local time."""
    execution_timeout: float
    """How long one attempt may run, in seconds. 0.001 to 30 days; default: no limit."""
    retry_policy: RetryPolicy
    costs: Mapping[str, int]
    """What it is expected to cost, by unit. Default: one task."""
    wait_when_limited: bool
    """Over a limit it is accepted and waits for its turn. Default false: it is refused."""
    traceparent: str
    """W3C trace context of the caller's span. Default: the task is a trace of its own."""
    tracestate: str


def task_spec(
    task_id: str | None, task_data: Mapping[str, Any], required_capability: str, namespace: str, options: TaskOptions
) -> TaskSpec:
    """Returns a task; without an id it is given one. Bounds are the mesh's to judge.

    Raises:
        LegionError: `TASK_DATA_NOT_OBJECT`, `INVALID_REQUEST`: it cannot be written.
    """
    try:
        return _spec(task_id, _data(task_data), required_capability, namespace, options)
    except (TypeError, ValueError) as error:
        message = f"The task cannot be sent: {error}"
        raise LegionError(message, code="INVALID_ARGUMENT", reason="INVALID_REQUEST") from error


def _spec(task_id: str | None, data: bytes, required_capability: str, namespace: str, options: TaskOptions) -> TaskSpec:
    spec = TaskSpec(
        namespace=options.get("namespace", namespace),
        task_id=task_id or str(uuid.uuid4()),
        capability=required_capability,
        task_data=Payload(data=data),
        priority=options.get("priority", 0),
        user=options.get("user", ""),
        labels=labels_of(options.get("labels", {})),
        required_labels=labels_of(options.get("required_labels", {})),
        costs=[Cost(unit=unit, amount=amount) for unit, amount in options.get("costs", {}).items()],
        traceparent=options.get("traceparent", ""),
        tracestate=options.get("tracestate", ""),
    )
    if (run_time := options.get("run_time")) is not None:
        spec.run_time.FromDatetime(run_time.astimezone())
    if (timeout := options.get("execution_timeout")) is not None:
        spec.execution_timeout.CopyFrom(duration(timeout))
    if (policy := options.get("retry_policy")) is not None:
        spec.retry_policy.CopyFrom(_retry_policy(policy))
    if options.get("wait_when_limited", False):
        spec.when_limited = WhenLimited.WHEN_LIMITED_WAIT
    return spec


def _data(task_data: object) -> bytes:
    if not isinstance(task_data, Mapping):
        message = f"task_data must be a dict, but is a {type(task_data).__name__}."
        raise LegionError(message, code="INVALID_ARGUMENT", reason="TASK_DATA_NOT_OBJECT")
    try:
        return _json.dump(task_data if isinstance(task_data, dict) else dict(task_data))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"task_data cannot be written as JSON: {error}"
        raise LegionError(message, code="INVALID_ARGUMENT", reason="TASK_DATA_NOT_OBJECT") from error


def _retry_policy(policy: RetryPolicy) -> RetryPolicyMessage:
    message = RetryPolicyMessage()
    if policy.max_attempts is not None:
        if policy.max_attempts < 1:  # on the wire 0 means the default; nobody who writes 0 means that
            raise ValueError(f"retry_policy.max_attempts must be from 1 to 100, but is {policy.max_attempts}.")
        message.max_attempts = policy.max_attempts
    if policy.initial_delay is not None:
        message.initial_delay.CopyFrom(duration(policy.initial_delay))
    if policy.max_delay is not None:
        message.max_delay.CopyFrom(duration(policy.max_delay))
    if policy.factor is not None:
        message.factor = policy.factor
    return message
