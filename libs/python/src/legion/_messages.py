"""Outcomes as the contract has them."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from . import _json
from ._proto.outcome_pb2 import Canceled, Completed, Failed, Outcome
from ._proto.payload_pb2 import Payload
from .errors import AttemptCanceled, TaskError

_DAY = 86_400.0


def duration(seconds: float) -> Duration:
    """Returns a duration; what is negative counts as 0."""
    result = Duration()
    result.FromNanoseconds(int(max(0.0, seconds) * 1e9))
    return result


def delay(seconds: float) -> Duration:
    """Returns a delay as the contract takes it: 0 to 24 h."""
    return duration(min(seconds, _DAY))


def cut(text: str, max_bytes: int) -> str:
    """Returns the text, well-formed and of at most so many bytes of UTF-8."""
    # Half of a surrogate pair cannot be sent.
    data = text.encode(errors="replace")
    return data[:max_bytes].decode(errors="ignore")


def completed(result: bytes) -> Outcome:
    """Returns the outcome of a success."""
    return Outcome(completed=Completed(result=Payload(data=result)))


def canceled(reason: AttemptCanceled) -> Outcome:
    """Returns the answer to a cancel."""
    if reason.cause == "AGENT_STOPPED":
        # Nobody asked for that: the task is to be tried elsewhere, at once.
        failed = Failed(code=reason.cause, message=str(reason), retryable=True, retry_delay=timedelta(0))
        return Outcome(failed=failed)
    return Outcome(canceled=Canceled(reason=cut(str(reason), 1024)))


def timed_out(reason: AttemptCanceled) -> Outcome:
    """Returns what the mesh records when the execution timeout has passed."""
    return Outcome(failed=Failed(code="EXECUTION_TIMEOUT", message=str(reason), retryable=True))


def failed(error: BaseException, max_details_bytes: int) -> Outcome:
    """Returns what a handler raised as the failure that the mesh records."""
    if not isinstance(error, TaskError):
        # Retryable, for nobody said that it is not.
        return Outcome(failed=Failed(code=cut(type(error).__name__, 128), message=_text(error), retryable=True))
    result = Failed(
        code=cut(error.code, 128),
        message=cut(error.message, 16 * 1024),
        retryable=error.retryable,
        caller_fault=error.caller_fault,
    )
    if error.retry_delay is not None and error.retry_delay == error.retry_delay:
        result.retry_delay.CopyFrom(delay(error.retry_delay))
    if error.details is not None:
        details = _details(error.details)
        # The failure itself matters more than what cannot be sent with it.
        if details is not None and len(details) <= max_details_bytes:
            result.details.data = details
    return Outcome(failed=result)


def _text(error: BaseException) -> str:
    try:
        return cut(str(error), 16 * 1024)
    except Exception:  # a handler may raise anything at all
        return "The handler raised something that cannot be described."


def _details(value: object) -> bytes | None:
    try:
        return _json.dump(value)
    except (TypeError, ValueError, RecursionError):
        return None
