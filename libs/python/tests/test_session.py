"""The protocol, against a Registry that does what the test tells it."""

import asyncio
import threading
import time
from typing import Any

import grpc
import pytest
from fake_registry import FakeRegistry, FakeStream
from google.protobuf.duration_pb2 import Duration

from legion import Agent, AgentError, TaskContext, TaskError
from legion._proto.session_pb2 import CancelAttempt, CancelCause, Drain


def agent_of(registry: FakeRegistry, **options: Any) -> Agent:
    agent = Agent("tried", agent_id="tried-1", registry=registry.address, **options)

    @agent.capability("echo")
    def echo(data: dict[str, Any]) -> dict[str, Any]:
        return data

    @agent.capability("rest")
    async def rest(data: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(data["seconds"])
        return data

    return agent


async def cancel(stream: FakeStream, task_id: str, cause: CancelCause = CancelCause.CANCEL_CAUSE_REQUESTED) -> None:
    await stream.send(cancels=[CancelAttempt(task_id=task_id, attempt=1, cause=cause, reason="enough")])


async def test_handlers_in_threads_and_on_the_loop() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        ran_in: dict[str, Any] = {}

        @agent.capability("where.thread")
        def in_thread(data: dict[str, Any], context: TaskContext) -> dict[str, str]:
            ran_in["thread"] = threading.current_thread()
            return {"trace": context.traceparent, "user": context.user}

        @agent.capability("where.loop")
        async def on_loop(data: dict[str, Any], context: TaskContext) -> None:
            ran_in["loop"] = asyncio.get_running_loop()

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "where.thread", traceparent="00-1-2-01", user="ada")
            await stream.assign("b", "where.loop")
            assert (await stream.outcome("a")).outcome.completed.result.data == b'{"trace":"00-1-2-01","user":"ada"}'
            assert (await stream.outcome("b")).outcome.completed.result.data == b"null"
        assert ran_in["thread"] is not threading.current_thread()
        assert ran_in["loop"] is asyncio.get_running_loop()
        assert agent.get_status()["state"] == "stopped"
        assert agent.get_status()["completed"] == 2
        stats = (await stream.outcome("a")).stats
        assert stats.memory_after_bytes > 1_000_000
        assert stats.duration.ToNanoseconds() > 0


async def test_what_handlers_raise() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)

        @agent.capability("fail")
        def fail(data: dict[str, Any], context: TaskContext) -> None:
            context.report_costs({"tokens": 7})
            context.pause_limit(30, "upstream")
            raise TaskError("Full", "no room", False, retry_delay=5, details={"left": 0}, caller_fault=True)

        @agent.capability("leave")
        async def leave(data: dict[str, Any]) -> None:
            raise SystemExit(3)

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "fail")
            await stream.assign("b", "leave")
            await stream.assign("c", "never offered")
            answer = await stream.outcome("a")
            failed = answer.outcome.failed
            assert (failed.code, failed.message, failed.retryable) == ("Full", "no room", False)
            assert (failed.retry_delay.seconds, failed.details.data, failed.caller_fault) == (5, b'{"left":0}', True)
            assert [(cost.unit, cost.amount) for cost in answer.stats.costs] == [("tokens", 7)]
            assert (answer.pause.retry_delay.seconds, answer.pause.limit) == (30, "upstream")
            failed = (await stream.outcome("b")).outcome.failed
            assert (failed.code, failed.message, failed.retryable) == ("SystemExit", "3", True)
            assert (await stream.outcome("c")).outcome.failed.code == "NOT_IMPLEMENTED"


async def test_canceled_in_a_thread_and_on_the_loop() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        causes: list[str] = []

        @agent.capability("wait")
        def wait(data: dict[str, Any], context: TaskContext) -> None:
            try:
                context.sleep(60)
            finally:
                causes.append(context.cancellation.cause if context.cancellation else "")

        async with agent:
            stream = await registry.stream(0)
            for task_id, capability in {"a": "wait", "b": "rest", "c": "wait"}.items():
                await stream.assign(task_id, capability, {"seconds": 60})
            await stream.until(lambda: agent.get_status()["in_flight"] == 3 and stream.frames[-1].ack == 4)
            await cancel(stream, "a")
            await cancel(stream, "b", CancelCause.CANCEL_CAUSE_LEASE_LOST)
            await cancel(stream, "c", 99)  # type: ignore[arg-type] # of a newer mesh
            for task_id in "abc":
                assert (await stream.outcome(task_id)).outcome.canceled.reason == "enough"
            assert causes == ["REQUESTED", "REQUESTED"]


async def test_execution_timeout_is_kept_without_the_mesh() -> None:
    async with FakeRegistry() as registry, agent_of(registry):
        stream = await registry.stream(0)
        await stream.assign("a", "rest", {"seconds": 60}, execution_timeout=Duration(nanos=50_000_000))
        failed = (await stream.outcome("a")).outcome.failed
        assert (failed.code, failed.retryable) == ("EXECUTION_TIMEOUT", True)


async def test_who_does_not_stop_is_answered_for() -> None:
    async with FakeRegistry() as registry:
        agent, stubborn = agent_of(registry, cancel_grace=0.05), threading.Event()

        @agent.capability("stubborn")
        def stay(data: dict[str, Any]) -> None:
            stubborn.wait(20)

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "stubborn")
            await stream.until(lambda: stream.frames[-1].ack == 2)
            await cancel(stream, "a")
            assert (await stream.outcome("a")).outcome.HasField("canceled")
            stubborn.set()


async def test_resumes_with_what_it_holds_and_sends_outcomes_again() -> None:
    async with FakeRegistry(acknowledges=False) as registry, agent_of(registry) as agent:
        first = await registry.stream(0)
        await first.assign("done", "echo", {"n": 1})
        await first.assign("going", "rest", {"seconds": 1})
        await first.outcome("done")
        await first.abort(grpc.StatusCode.UNAVAILABLE)
        second = await registry.stream(1)
        assert second.hello.session_id == "session-1"
        assert {ref.task_id for ref in second.hello.in_flight} == {"done", "going"}
        assert (await second.outcome("done")).outcome.completed.result.data == b'{"n":1}'
        await second.outcome("going")
        assert [frame.seq for frame in second.frames] == list(range(1, len(second.frames) + 1))
        assert agent.get_status()["unacknowledged"] == 2
        await second.send(ack=second.frames[-1].seq)
        await agent.stop_async()
        assert agent.get_status()["unacknowledged"] == 0


async def test_what_is_lost_is_stopped_and_not_answered() -> None:
    async def welcome(stream: FakeStream) -> None:
        await stream.welcome(resumed=False, session_id=f"session-{len(registry.streams) + 1}")

    async with FakeRegistry(welcome) as registry, agent_of(registry):
        first = await registry.stream(0)
        await first.assign("gone", "rest", {"seconds": 60})
        await first.until(lambda: first.frames[-1].ack == 2)
        await first.abort(grpc.StatusCode.UNAVAILABLE)
        second = await registry.stream(1)
        await second.assign("new", "echo")
        await second.outcome("new")
        assert [outcome.task_id for outcome in second.outcomes] == ["new"]


async def test_moves_to_another_registry_and_drops_nothing() -> None:
    async with FakeRegistry() as registry, agent_of(registry) as agent:
        first = await registry.stream(0)
        await first.assign("going", "rest", {"seconds": 0.3})
        await first.until(lambda: first.frames[-1].ack == 2)
        await first.send(drain=Drain(reconnect=True))
        second = await registry.stream(1)
        assert [ref.task_id for ref in second.hello.in_flight] == ["going"]
        await second.outcome("going")
        await asyncio.wait_for(first.over.wait(), 5)
        assert first.outcomes == []
        assert agent.get_status()["state"] == "active"


async def test_drained_by_the_mesh() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        await agent.start_async()
        stream = await registry.stream(0)
        await stream.assign("held", "rest", {"seconds": 0.2})
        await stream.until(lambda: stream.frames[-1].ack == 2)
        await stream.send(drain=Drain(reason="operator"))
        await agent.wait_async()
        assert any(frame.HasField("drain") for frame in stream.frames)
        assert [outcome.task_id for outcome in stream.outcomes] == ["held"]


async def test_stop_gives_up_what_does_not_end() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        await agent.start_async()
        stream = await registry.stream(0)
        await stream.assign("long", "rest", {"seconds": 60})
        await stream.until(lambda: stream.frames[-1].ack == 2)
        await agent.stop_async(timeout=0.1)
        failed = (await stream.outcome("long")).outcome.failed
        assert (failed.code, failed.retryable, failed.HasField("retry_delay")) == ("AGENT_STOPPED", True, True)
        await asyncio.wait_for(stream.over.wait(), 5)


async def test_refused_fenced_and_stopped() -> None:
    async def refuse(stream: FakeStream) -> None:
        await stream.abort(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")

    async with FakeRegistry(refuse) as registry:
        with pytest.raises(AgentError, match="refuses the agent tried-1") as refused:
            await agent_of(registry).start_async()
        assert refused.value.reason == "INVALID_REQUEST"
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        await agent.start_async()
        await (await registry.stream(0)).abort(grpc.StatusCode.ABORTED, "SESSION_FENCED")
        with pytest.raises(AgentError, match="Another process uses"):
            await agent.wait_async()
        assert len(registry.streams) == 1
    agent = Agent("nobody", registry="127.0.0.1:9")
    with pytest.raises(TimeoutError):
        await agent.start_async(timeout=0.1)


async def test_a_silent_registry_is_left() -> None:
    async with FakeRegistry(lambda stream: stream.welcome(heartbeat=0.05, lease=0.2)) as registry, agent_of(registry):
        first = await registry.stream(0)
        await asyncio.wait_for(first.over.wait(), 10)
        await registry.stream(1)
        assert sum(frame.HasField("heartbeat") for frame in first.frames) >= 3


async def test_beats_while_all_slots_burn() -> None:
    async with FakeRegistry(lambda stream: stream.welcome(heartbeat=0.05, lease=60)) as registry:
        agent = agent_of(registry)

        @agent.capability("burn")
        def burn(data: dict[str, Any]) -> None:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                pass

        @agent.capability("block")
        async def block(data: dict[str, Any]) -> None:
            burn(data)

        agent_loop = threading.Thread(target=agent.run, daemon=True)
        agent_loop.start()
        stream = await registry.stream(0)
        for n in range(4):
            await stream.assign(f"t{n}", "burn")
        await stream.assign("blocks its loop", "block")
        before = sum(frame.HasField("heartbeat") for frame in stream.frames)
        await stream.until(
            lambda: bool(stream.outcomes) or sum(each.HasField("heartbeat") for each in stream.frames) >= before + 4
        )
        assert not stream.outcomes
        await asyncio.to_thread(agent.stop)
        await asyncio.to_thread(agent_loop.join)


def test_plain_code_needs_no_event_loop() -> None:
    asked: list[FakeStream] = []
    ready, done = threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        async with FakeRegistry() as registry:
            address.append(registry.address)
            ready.set()
            asked.append(await registry.stream(0))
            await asked[0].assign("a", "rest", {"seconds": 0})
            await asked[0].outcome("a")
            done.set()
            await asyncio.wait_for(asked[0].over.wait(), 10)

    server = threading.Thread(target=asyncio.run, args=[serve()], daemon=True)
    server.start()
    assert ready.wait(10)
    agent = Agent("plain", registry=address[0])

    @agent.capability("rest")
    async def rest(data: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(data["seconds"])
        return data

    with agent:
        assert done.wait(10)
        with pytest.raises(RuntimeError, match="only once"):
            agent.start()
    server.join(10)
    assert agent.get_status()["completed"] == 1


async def test_blocking_calls_are_refused_on_a_loop() -> None:
    async with FakeRegistry() as registry:
        agent = agent_of(registry)
        async with agent:
            with pytest.raises(RuntimeError, match="await stop_async"):
                agent.stop()
