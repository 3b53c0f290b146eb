"""What can go wrong, for handlers, agents and clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

CancelCause = Literal["REQUESTED", "TIMEOUT", "LEASE_LOST", "AGENT_STOPPED"]


class TaskError(Exception):
    """Raised by a handler to say exactly how its attempt failed.

    Any other exception becomes a failure that is tried again, with the exception's class as its code.
    """

    def __init__(
        self,
        code: str,
        message: str,
        retryable: bool = True,
        *,
        retry_delay: float | None = None,
        details: Any = None,
        caller_fault: bool = False,
    ) -> None:
        """Makes one.

        Args:
            code: A stable word for programs. At most 128 bytes; longer is cut.
            message: A sentence for people. At most 16 KiB; longer is cut.
            retryable: Whether another attempt may help; false ends the task at once.
            retry_delay: Wait at least this long before the next attempt, in seconds; at most 24 h.
                By default the task's retry policy decides.
            details: More about the failure, for programs: any JSON value.
            caller_fault: The caller's doing (input that makes no sense, say): it is not held
                against the agent.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_delay = retry_delay
        self.details = details
        self.caller_fault = caller_fault


class AttemptCanceled(Exception):  # noqa: N818 - as asyncio's own, it is no error
    """The attempt is to stop. Raised by `TaskContext.check` and `TaskContext.sleep`.

    `cause` is `REQUESTED` (somebody canceled the task), `TIMEOUT` (its execution timeout has passed),
    `LEASE_LOST` (the attempt is no longer this agent's) or `AGENT_STOPPED` (the agent waits no longer).
    """

    def __init__(self, cause: CancelCause, reason: str = "") -> None:
        super().__init__(reason or _SENTENCES[cause])
        self.cause: CancelCause = cause


_SENTENCES: dict[CancelCause, str] = {
    "REQUESTED": "The task was canceled.",
    "TIMEOUT": "The execution timeout has passed.",
    "LEASE_LOST": "The attempt is no longer this agent's.",
    "AGENT_STOPPED": "The agent stops.",
}


class AgentError(Exception):
    """Why an agent stopped, or could not start, for good: trying again would not help.

    `reason` is the mesh's word, such as `SESSION_FENCED` or `INVALID_REQUEST`; `STOPPED` if the agent
    was stopped before it had reached a Registry.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class FieldViolation:
    """A field at fault, by its path, such as `retry_policy.max_attempts`."""

    field: str
    description: str


class LegionError(Exception):
    """The mesh, or this client before anything left it, did not do what it was asked.

    `code` is gRPC's name of the status, such as `INVALID_ARGUMENT`. `reason` is a stable word for
    programs, such as `TASK_DATA_NOT_OBJECT`; `CLOSED` when the LegionCore was closed; empty when the error is
    not Legion's own. `help` says what to do about it. `retry_delay` is how long the mesh asks to wait
    before the next try, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str = "",
        help: str = "",  # noqa: A002 - the name that the mesh has for it
        violations: Sequence[FieldViolation] = (),
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.help = help
        self.violations = tuple(violations)
        self.retry_delay = retry_delay


class WaitTimeoutError(LegionError, TimeoutError):
    """The caller's `timeout` passed without an outcome. The task goes on if the mesh has it.

    Its `__cause__` is the last trouble with reaching the mesh, if there was any.
    """

    def __init__(self, task_id: str, timeout: float) -> None:
        super().__init__(f"No outcome of task {task_id} within {timeout:g} s.", code="DEADLINE_EXCEEDED")
        self.task_id = task_id


class TaskFailedError(Exception):
    """The task ended `FAILED`, or `DEAD`: out of attempts.

    `attempt` is the one whose failure it is, from 1; `code` the agent's word for it, such as
    `EXECUTION_TIMEOUT` or `ValueError`; `details` what the agent added, for programs.
    """

    def __init__(
        self,
        task_id: str,
        state: Literal["FAILED", "DEAD"],
        attempt: int,
        *,
        code: str,
        message: str,
        retryable: bool,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.state: Literal["FAILED", "DEAD"] = state
        self.attempt = attempt
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details


class TaskCanceledError(Exception):
    """The task was stopped because somebody asked for that; `reason` is in their words."""

    def __init__(self, task_id: str, reason: str) -> None:
        super().__init__(f"Task {task_id} was canceled{f': {reason}' if reason else '.'}")
        self.task_id = task_id
        self.reason = reason


class RateLimitedError(Exception):
    """A call was not made, because its limit did not allow it in time.

    `retry_after` is when it would be allowed if nobody else came, in seconds from now.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
