"""Spans of agents and clients, as the OpenTelemetry SDK records them."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import grpc
import pytest
from agents import agent_of
from fake_registry import FakeRegistry, FakeStream
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from test_core import FakeDispatcher, echo

from legion import LegionCore, TaskContext, TaskError, _otel
from legion._proto.session_pb2 import CancelAttempt, CancelCause

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
PARENT = f"00-{TRACE:032x}-b7ad6b7169203331-01"

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("test")


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    # The provider of the process can be set only once, and other tests want none.
    monkeypatch.setattr(_otel, "_tracer", provider.get_tracer("legion"))
    exporter.clear()


def spans() -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def told(span: ReadableSpan, *names: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for name in names]


async def test_an_execution_is_a_span_under_its_assignment() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry, version="7")
        seen: list[str] = []

        @agent.capability("in.thread")
        def in_thread(data: dict[str, Any], context: TaskContext) -> dict[str, Any]:
            seen.append(context.traceparent)
            tracer.start_span("below in.thread").end()
            return data

        @agent.capability("on.loop")
        async def on_loop(data: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(0)
            tracer.start_span("below on.loop").end()
            raise TaskError("Full", "no room", retryable=True)

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "in.thread", traceparent=PARENT, tracestate="vendor=1")
            await stream.outcome("a")
            await stream.assign("b", "on.loop", traceparent=PARENT)
            await stream.outcome("b")
    for capability in ("in.thread", "on.loop"):
        span = spans()[f"execute {capability}"]
        assert (span.context.trace_id, span.kind) == (TRACE, trace.SpanKind.CONSUMER)
        assert span.parent is not None
        assert span.parent.span_id == 0xB7AD6B7169203331
        below = spans()[f"below {capability}"]
        assert below.parent == span.context
        assert told(span, "messaging.system", "messaging.operation.type", "messaging.operation.name") == [
            *("legion", "process", "execute")
        ]
        assert told(span, "messaging.destination.name", "legion.attempt", "legion.namespace") == [
            *(capability, 1, "default")
        ]
        assert told(span, "legion.agent.id", "legion.agent.name", "legion.agent.version") == ["tried-1", "tried", "7"]
    done, failed = spans()["execute in.thread"], spans()["execute on.loop"]
    assert [text[:52] for text in seen] == [f"00-{TRACE:032x}-{done.context.span_id:016x}"]
    assert done.context.trace_state.get("vendor") == "1"
    assert (done.status.is_ok, told(done, "legion.outcome")) == (True, ["completed"])
    assert (failed.status.status_code, failed.status.description) == (trace.StatusCode.ERROR, "no room")
    assert told(failed, "legion.outcome", "error.type", "legion.retryable") == ["failed", "Full", True]
    assert [event.name for event in failed.events] == ["exception"]


async def test_who_does_not_stop_has_a_span_that_ends() -> None:
    async with FakeRegistry() as registry:
        agent, stubborn = agent_of(registry, cancel_grace=0.05), threading.Event()

        @agent.capability("stubborn")
        def stay(data: dict[str, Any]) -> None:
            stubborn.wait(20)

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "stubborn", traceparent=PARENT)
            await stream.until(lambda: stream.frames[-1].ack == 2)
            cause = CancelCause.CANCEL_CAUSE_REQUESTED
            await stream.send(cancels=[CancelAttempt(task_id="a", attempt=1, cause=cause, reason="enough")])
            await stream.outcome("a")
            span = spans()["execute stubborn"]
            assert (span.status.is_ok, told(span, "legion.outcome")) == (True, ["canceled"])
            stubborn.set()


async def test_an_attempt_that_is_lost_ends_its_span() -> None:
    async def welcome(stream: FakeStream) -> None:
        await stream.welcome(resumed=False, session_id=f"session-{len(registry.streams) + 1}")

    async with FakeRegistry(welcome) as registry, agent_of(registry):
        first = await registry.stream(0)
        await first.assign("gone", "rest", {"seconds": 60}, traceparent=PARENT)
        await first.until(lambda: first.frames[-1].ack == 2)
        await first.abort(grpc.StatusCode.UNAVAILABLE)
        second = await registry.stream(1)
        await second.assign("new", "echo")
        await second.outcome("new")
    span = spans()["execute rest"]
    assert (span.status.is_ok, told(span, "legion.outcome")) == (False, ["lost"])


async def test_handing_over_is_a_span_under_the_callers() -> None:
    async with FakeDispatcher(echo) as dispatcher, LegionCore(dispatcher.address) as core:
        with tracer.start_as_current_span("mine") as mine:
            await core.dispatch_task_async("t", {}, "echo")
            await asyncio.to_thread(core.dispatch_task, "u", {}, "echo.thread")
        await core.dispatch_task_async("v", {}, "echo.given", traceparent=PARENT)
        first, second, third = dispatcher.specs
        sent = spans()["send echo"]
        assert (sent.parent, sent.kind) == (mine.get_span_context(), trace.SpanKind.PRODUCER)
        assert first.traceparent[:52] == f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}"
        assert told(sent, "messaging.message.id", "messaging.operation.name", "legion.namespace") == [
            *("t", "submit", "default")
        ]
        assert second.traceparent[:35] == first.traceparent[:35]
        assert (third.traceparent[3:35], third.traceparent == PARENT) == (PARENT[3:35], False)


def test_it_does_without_opentelemetry() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
import legion
from legion._tracing import ExecuteSpan
from legion._proto.session_pb2 import Assignment, Hello
from legion._proto.outcome_pb2 import Outcome
span = ExecuteSpan(Hello(), Assignment(traceparent="00-1-2-01"))
with span.current():
    print(span.strings().traceparent)
span.end(Outcome(), None)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "00-1-2-01\n"
