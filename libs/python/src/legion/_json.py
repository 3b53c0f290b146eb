"""A task's data and results, as JSON."""

import json
from collections.abc import Mapping
from typing import Any

from .errors import TaskError


def dump(value: Any) -> bytes:
    """Returns the value as JSON.

    Raises:
        TypeError, ValueError, RecursionError: It cannot be written as JSON; NaN and infinities neither.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only write escaped
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def read_task_data(data: bytes) -> dict[str, Any]:
    """Returns a task's input.

    Raises:
        TaskError: `TASK_DATA_INVALID`: it is not a JSON object; the mesh lets none such through, but
            it may be nested deeper than Python's recursion goes.
    """
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError) as error:
        raise TaskError("TASK_DATA_INVALID", f"The task's data cannot be read: {error}", False) from error
    if not isinstance(value, dict):
        raise TaskError("TASK_DATA_INVALID", "The task's data is not a JSON object.", False)
    return value


def write_result(result: Any, max_bytes: int) -> bytes:
    """Returns what a handler returned, as JSON; None becomes null.

    Raises:
        TaskError: `RESULT_NOT_SERIALIZABLE`, `RESULT_TOO_LARGE`; another attempt would not help.
    """
    try:
        data = dump(result if isinstance(result, dict) or not isinstance(result, Mapping) else dict(result))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The result cannot be written as JSON: {error}"
        raise TaskError("RESULT_NOT_SERIALIZABLE", message, False) from error
    if len(data) > max_bytes:
        message = (
            f"The result has {len(data)} bytes, and the mesh takes {max_bytes}: "
            "store it elsewhere and return a reference to it."
        )
        raise TaskError("RESULT_TOO_LARGE", message, False)
    return data
