"""How handlers are run, against a Registry that does what the test tells it."""

import asyncio
import threading
import time
from typing import Any

from agents import agent_of
from fake_registry import FakeRegistry, FakeStream
from google.protobuf.duration_pb2 import Duration

from legion import Agent, LegionAgent, TaskContext, TaskError
from legion._proto.session_pb2 import CancelAttempt, CancelCause


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


async def test_an_attempt_that_was_lost_comes_again_under_its_number() -> None:
    async with FakeRegistry(acknowledges=False) as registry:
        agent, runs, stubborn = agent_of(registry), list[int](), threading.Event()

        @agent.capability("stubborn")
        def stay(data: dict[str, Any]) -> dict[str, int]:
            runs.append(len(runs) + 1)
            if len(runs) == 1:
                stubborn.wait(20)
            return {"run": len(runs)}

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "stubborn")
            await stream.assign("a", "stubborn")
            await stream.until(lambda: stream.frames[-1].ack == 3)
            await cancel(stream, "a", CancelCause.CANCEL_CAUSE_LEASE_LOST)
            await stream.assign("a", "stubborn")
            assert (await stream.outcome("a")).outcome.completed.result.data == b'{"run":2}'
            stubborn.set()
            await stream.assign("b", "echo")
            await stream.outcome("b")
            assert [outcome.task_id for outcome in stream.outcomes] == ["a", "b"]
            await stream.send(ack=stream.frames[-1].seq)


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


async def test_a_class_as_an_agent() -> None:
    class Plain(LegionAgent):
        capabilities = ("plain",)

        def execute(self, task_data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
            return {"in": threading.current_thread().name, "name": self.name, **task_data}

    class Looping(LegionAgent):
        capabilities = ("looping",)

        async def execute_async(self, task_data: dict[str, Any], context: TaskContext) -> dict[str, Any]:
            return {"in": threading.current_thread().name, "capability": context.capability}

    async with FakeRegistry() as registry:
        for number, kind in enumerate((Plain, Looping)):
            async with kind(registry=registry.address) as agent:
                stream = await registry.stream(number)
                name = agent.capabilities[0]
                assert [each.name for each in stream.hello.capabilities] == [name]
                await stream.assign("a", str(name), {"n": 1})
                result = (await stream.outcome("a")).outcome.completed.result.data
                if kind is Plain:
                    assert result == b'{"in":"legion-handler-1","name":"Plain","n":1}'
                else:
                    assert result == b'{"in":"MainThread","capability":"looping"}'


async def test_hooks_and_their_mistakes() -> None:
    told: list[str] = []

    class Telling(Agent):
        def on_connected(self, session_id: str, resumed: bool) -> None:
            told.append(f"connected {session_id} {resumed}")
            raise RuntimeError("a mistake")

        def on_begin(self, context: TaskContext) -> None:
            told.append(f"begin {context.task_id}")

        def on_end(self, context: TaskContext, error: BaseException | None) -> None:
            told.append(f"end {context.task_id} {error!r}")
            raise RuntimeError("a mistake")

        def on_draining(self, reason: str) -> None:
            told.append("draining")

    async with FakeRegistry() as registry:
        agent = Telling("t", registry=registry.address)

        @agent.capability("divide")
        def divide(data: dict[str, Any]) -> dict[str, Any]:
            return {"result": 1 / data["by"]}

        async with agent:
            stream = await registry.stream(0)
            await stream.assign("a", "divide", {"by": 0})
            assert (await stream.outcome("a")).outcome.failed.code == "ZeroDivisionError"
    assert told == [
        "connected session-1 False",
        "begin a",
        "end a ZeroDivisionError('division by zero')",
        "draining",
    ]


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
