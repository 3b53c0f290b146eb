"""Spans by the OpenTelemetry API. Imported only where that is installed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._span import Attributes, Kind, TraceStrings

_propagator = TraceContextTextMapPropagator()
# Stands in for that of the program's own provider, whenever it sets one.
_tracer = trace.get_tracer("legion")
_kinds: Mapping[Kind, SpanKind] = {"producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}


class OtelSpan:
    """See `_span.Span`."""

    def __init__(self, name: str, kind: Kind, parent: TraceStrings | None, attributes: Attributes) -> None:
        """Starts it."""
        context = None if parent is None else _propagator.extract(_carrier(parent), context=Context())
        self._span = _tracer.start_span(name, context, _kinds[kind], attributes)

    def strings(self) -> TraceStrings:
        """Returns the context for what happens under it."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, context=trace.set_span_in_context(self._span, Context()))
        return TraceStrings(carrier.get("traceparent", ""), carrier.get("tracestate", ""))

    def current(self) -> AbstractContextManager[object]:
        """Makes it the parent of spans that are made meanwhile."""
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def fail(self, message: str, error: BaseException | None = None) -> None:
        """Marks it as failed."""
        if error is not None:
            self._span.record_exception(error)
        self._span.set_status(StatusCode.ERROR, message)

    def end(self, attributes: Attributes) -> None:
        """Ends it; only the first time counts."""
        self._span.set_attributes(attributes)
        self._span.end()


def _carrier(strings: TraceStrings) -> dict[str, str]:
    return {name: text for name, text in strings._asdict().items() if text}
