"""Functions that do tasks."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .context import TaskContext

Handler = Callable[[dict[str, Any], TaskContext], Any]


def is_async(handler: Callable[..., Any]) -> bool:
    """Says whether calling it gives a coroutine: also of objects that are called, and of partial functions."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def as_handler(function: Callable[..., Any]) -> Handler:
    """Returns a handler that calls the function, with the context if it takes it."""
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in positional if each.default is each.empty]
    if any(each.kind is each.VAR_POSITIONAL for each in parameters) or len(positional) > 1 >= len(needed) - 1:
        return function
    if len(positional) != 1:
        raise TypeError(f"A handler takes a task's data and a context, or the data alone; {function!r} does not.")
    if is_async(function):

        @functools.wraps(function)
        async def with_data_async(data: dict[str, Any], context: object) -> Any:
            return await function(data)

        return with_data_async

    @functools.wraps(function)
    def with_data(data: dict[str, Any], context: object) -> Any:
        return function(data)

    return with_data
