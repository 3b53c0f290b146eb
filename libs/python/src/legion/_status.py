"""A gRPC status with its details, as an error."""

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from ._proto.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from ._proto.status_pb2 import Status
from .errors import FieldViolation, LegionError


def legion_error(error: grpc.aio.AioRpcError) -> LegionError:
    """Returns what a call raised as a LegionError; details that cannot be read are left out."""
    status = Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                status = Status.FromString(value)
            except DecodeError:
                continue
    return from_status(status, error.code().name, error.details() or "")


def from_status(status: Status, code: str, message: str) -> LegionError:
    """Returns an error with the details of a `google.rpc.Status`."""
    info, retry, violations = ErrorInfo(), None, []
    for detail in status.details:
        try:
            match detail.type_url.rpartition("/")[2]:
                case "google.rpc.ErrorInfo":
                    info = ErrorInfo.FromString(detail.value)
                case "google.rpc.RetryInfo":
                    retry = RetryInfo.FromString(detail.value).retry_delay
                case "google.rpc.BadRequest":
                    bad = BadRequest.FromString(detail.value)
                    violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
        except DecodeError:
            continue
    return LegionError(
        message or f"The call failed with {code}.",
        code=code,
        reason=info.reason if info.domain == "legion" else "",
        help=info.metadata.get("help", ""),
        violations=violations,
        retry_delay=retry.ToTimedelta().total_seconds() if retry is not None else None,
    )


def is_transient(error: LegionError) -> bool:
    """Says whether another try may get another answer: nobody was there, or the connection was lost under the call."""
    if error.code == "UNAVAILABLE":
        return True
    # What gRPC makes of a connection that ends under a call, depending on the moment.
    return not error.reason and error.code in {"CANCELLED", "INTERNAL", "UNKNOWN"}
