"""The client, against a Dispatcher that does what the test tells it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from fake_registry import FakeRegistry, details

from legion import LegionCore, LegionError, RetryPolicy, TaskFailedError, WaitTimeoutError
from legion._proto.dispatcher_service_pb2 import RunTaskRequest, RunTaskResponse
from legion._proto.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from legion._proto.outcome_pb2 import Completed, Failed, Outcome
from legion._proto.payload_pb2 import Payload
from legion._proto.task_pb2 import Task, TaskSpec, TaskState

Context = grpc.aio.ServicerContext[RunTaskRequest, RunTaskResponse]
Answer = Callable[[TaskSpec, Context], Awaitable[Outcome]]


class FakeDispatcher:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server = grpc.aio.server()
        self.specs: list[TaskSpec] = []
        handler = grpc.unary_unary_rpc_method_handler(
            self._run, RunTaskRequest.FromString, RunTaskResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("legion.dispatcher.v1.DispatcherService", {"RunTask": handler})
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> "FakeDispatcher":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _run(self, request: RunTaskRequest, context: Context) -> RunTaskResponse:
        self.specs.append(request.task)
        outcome = await self._answer(request.task, context)
        task = Task(task_id=request.task.task_id, state=TaskState.TASK_STATE_DEAD, attempt=3, outcome=outcome)
        return RunTaskResponse(task=task)


async def echo(spec: TaskSpec, context: Context) -> Outcome:
    return Outcome(completed=Completed(result=spec.task_data))


async def test_what_is_asked_arrives() -> None:
    async with FakeDispatcher(echo) as dispatcher, LegionCore(dispatcher.address, namespace="team") as core:
        data = {"straße": [1, None]}
        options: Any = {"user": "ada", "labels": {"a": "b"}, "execution_timeout": 1.5, "costs": {"tokens": 3}}
        policy = RetryPolicy(max_attempts=2, initial_delay=0.25)
        assert await core.dispatch_task_async("t", data, "echo", retry_policy=policy, **options) == data
        [spec] = dispatcher.specs
        assert (spec.task_id, spec.namespace, spec.capability, spec.user) == ("t", "team", "echo", "ada")
        assert spec.execution_timeout.ToNanoseconds() == 1_500_000_000
        assert (spec.retry_policy.max_attempts, spec.retry_policy.initial_delay.nanos) == (2, 250_000_000)
        assert [(each.key, each.value) for each in spec.labels] == [("a", "b")]
        assert [(each.unit, each.amount) for each in spec.costs] == [("tokens", 3)]


async def test_a_failure_is_raised_with_all_it_says() -> None:
    async def fail(spec: TaskSpec, context: Context) -> Outcome:
        details = Payload(data=b'{"left":0}')
        return Outcome(failed=Failed(code="Full", message="no room", retryable=True, details=details))

    async with FakeDispatcher(fail) as dispatcher, LegionCore(dispatcher.address) as core:
        with pytest.raises(TaskFailedError, match="no room") as failed:
            await core.dispatch_task_async("t", {}, "echo")
        error = failed.value
        assert (error.task_id, error.state, error.attempt, error.code) == ("t", "DEAD", 3, "Full")
        assert (error.retryable, error.details) == (True, {"left": 0})


async def test_the_same_task_is_handed_over_again_until_somebody_answers() -> None:
    async def answer(spec: TaskSpec, context: Context) -> Outcome:
        if len(dispatcher.specs) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return await echo(spec, context)

    async with FakeDispatcher(answer) as dispatcher, LegionCore(f"127.0.0.1:9,{dispatcher.address}") as core:
        assert await core.dispatch_task_async(None, {"n": 1}, "echo", timeout=20) == {"n": 1}
        assert len(dispatcher.specs) == 3
        assert len({spec.task_id for spec in dispatcher.specs}) == 1


async def test_a_refusal_is_raised_at_once_with_its_details() -> None:
    async def refuse(spec: TaskSpec, context: Context) -> Outcome:
        violation = BadRequest.FieldViolation(field="task.priority", description="too high")
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(1_500)
        info = ErrorInfo(reason="INVALID_REQUEST", domain="legion", metadata={"help": "Correct it."})
        trailer = details(info, BadRequest(field_violations=[violation]), retry)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "wrong", trailer)
        raise AssertionError

    async with FakeDispatcher(refuse) as dispatcher, LegionCore(dispatcher.address) as core:
        with pytest.raises(LegionError, match="wrong") as refused:
            await core.dispatch_task_async("t", {}, "echo", timeout=20)
        error = refused.value
        assert (error.code, error.reason, error.help) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "Correct it.")
        assert ([each.field for each in error.violations], error.retry_delay) == (["task.priority"], 1.5)
        assert len(dispatcher.specs) == 1


async def test_time_is_up() -> None:
    asked = asyncio.Event()

    async def never(spec: TaskSpec, context: Context) -> Outcome:
        if spec.task_id == "u":
            asked.set()
        await asyncio.sleep(60)
        raise AssertionError

    async with FakeDispatcher(never) as dispatcher:
        async with LegionCore(dispatcher.address) as core:
            with pytest.raises(WaitTimeoutError, match="task t within") as late:
                await core.dispatch_task_async("t", {}, "echo", timeout=0.2)
            assert isinstance(late.value, TimeoutError)
            assert late.value.__cause__ is None
            waiting = asyncio.create_task(core.dispatch_task_async("u", {}, "echo"))
            await asked.wait()
        with pytest.raises(LegionError) as closed:
            await waiting
        assert closed.value.reason == "CLOSED"
    async with LegionCore("127.0.0.1:9") as core:
        with pytest.raises(WaitTimeoutError) as away:
            await core.dispatch_task_async("t", {}, "echo", timeout=0.2)
        assert isinstance(away.value.__cause__, LegionError)
        with pytest.raises(LegionError, match="No Dispatcher answers"):
            await core.health_check_async()


def test_what_cannot_be_a_task_does_not_leave() -> None:
    with LegionCore("127.0.0.1:9") as core:
        for wrong in [[1], "text", None, {"n": float("nan")}, {"x": object()}]:
            with pytest.raises(LegionError) as refused:
                core.dispatch_task("t", wrong, "echo")  # type: ignore[arg-type]
            assert refused.value.reason == "TASK_DATA_NOT_OBJECT"
        with pytest.raises(LegionError, match="max_attempts"):
            core.dispatch_task("t", {}, "echo", retry_policy=RetryPolicy(max_attempts=0))


async def test_agents_of_any_shape_are_registered_and_stopped() -> None:
    class Shaped:
        def execute(self, task_data: dict[str, Any]) -> dict[str, Any]:
            return {"shaped": True}

    async with FakeRegistry() as registry:
        async with LegionCore("127.0.0.1:9", registry=registry.address) as core:
            for number, agent in enumerate((Shaped(), lambda data: {"shaped": False})):
                made = await core.register_agent_async("a-1", agent, ["shape"], slots=3, name="shaper")
                stream = await registry.stream(number)
                assert (stream.hello.agent_id, stream.hello.name, stream.hello.slots) == ("a-1", "shaper", 3)
                await stream.assign("t", "shape")
                assert (await stream.outcome("t")).outcome.completed.result.data.startswith(b'{"shaped":')
            with pytest.raises(TypeError, match="function"):
                await core.register_agent_async("b", 3, ["shape"])
        assert made.get_status()["state"] == "stopped"
