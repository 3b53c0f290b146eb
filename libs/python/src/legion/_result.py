"""What came of a task."""

import json
from typing import Any

from ._proto.payload_pb2 import Payload
from ._proto.task_pb2 import Task, TaskState
from .errors import LegionError, TaskCanceledError, TaskFailedError


def task_result(task: Task) -> Any:
    """Returns what a finished task's agent returned: JSON parsed, anything else as bytes; None if it was nothing.

    Raises:
        TaskFailedError, TaskCanceledError
    """
    outcome = task.outcome
    match outcome.WhichOneof("kind"):
        case "completed":
            return read_payload(outcome.completed.result)
        case "failed":
            failed = outcome.failed
            raise TaskFailedError(
                task.task_id,
                "DEAD" if task.state == TaskState.TASK_STATE_DEAD else "FAILED",
                task.attempt,
                code=failed.code,
                message=failed.message,
                retryable=failed.retryable,
                details=read_payload(failed.details),
            )
        case "canceled":
            raise TaskCanceledError(task.task_id, outcome.canceled.reason)
        case _:
            message = f"The outcome of task {task.task_id} is of a kind this client does not know; update it."
            raise LegionError(message, code="UNIMPLEMENTED")


def read_payload(payload: Payload) -> Any:
    """Returns JSON parsed, anything else as bytes; None for nothing."""
    if not payload.data:
        return None
    if payload.content_type not in {"", "application/json"}:
        return payload.data
    return json.loads(payload.data)
