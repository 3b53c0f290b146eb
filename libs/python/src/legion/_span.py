"""What a span is to this package."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

Attributes = Mapping[str, str | int | bool]
Kind = Literal["producer", "consumer"]


class TraceStrings(NamedTuple):
    """A trace context as it travels: W3C's strings."""

    traceparent: str
    tracestate: str


class Span(Protocol):
    """One that was started."""

    def strings(self) -> TraceStrings:
        """Returns the context for what happens under it."""

    def current(self) -> AbstractContextManager[object]:
        """Makes it the parent of spans that are made meanwhile."""

    def fail(self, message: str, error: BaseException | None = None) -> None:
        """Marks it as failed."""

    def end(self, attributes: Attributes) -> None:
        """Ends it; only the first time counts."""
