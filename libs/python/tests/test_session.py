"""The protocol, against a Registry that does what the test tells it."""

import asyncio
import threading
from typing import Any

import grpc
import pytest
from agents import agent_of
from fake_registry import FakeRegistry, FakeStream

from legion import Agent, AgentError
from legion._proto.session_pb2 import Drain


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
