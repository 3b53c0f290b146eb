"""The mesh, for a program that gives it tasks."""

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from ._addresses import addresses
from ._dispatcher import Dispatcher
from ._loop import session_loop
from ._options import Capability, RegisterOptions
from ._proto.dispatcher_service_pb2 import (
    CancelTaskRequest,
    CancelTaskResponse,
    GetHealthRequest,
    GetHealthResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    RunTaskRequest,
    RunTaskResponse,
    SubmitTaskRequest,
    SubmitTaskResponse,
)
from ._proto.task_pb2 import TaskSpec, TaskState
from ._registered import AgentLike, registered
from ._result import task_result
from ._spec import TaskOptions, task_spec
from ._status import is_transient
from ._tracing import sending
from .agent import LegionAgent
from .errors import LegionError, WaitTimeoutError
from .mesh import MeshHealth, MeshMetrics, health_of, metrics_of

# How long calls other than dispatches are tried again where nobody answers, in seconds.
_PATIENCE = 10.0


class LegionCore:
    """Gives tasks to the mesh and agents to run them. One is enough for a process; it is for any thread.

    Each method `x` for ordinary code has a twin `x_async` to be awaited on an event loop. To be used in a `with` or an
    `async with` statement, or closed.
    """

    def __init__(self, dispatcher: str | None = None, registry: str | None = None, namespace: str = "") -> None:
        """Makes one; it connects when it is first used.

        Args:
            dispatcher: `host:port`, several separated by commas. By default LEGION_DISPATCHER, else port 7402 of this
                machine.
            registry: For `register_agent`. By default LEGION_REGISTRY, else port 7401 of this machine.
            namespace: The tenant, where a call names none. Empty: `default`.

        Raises:
            ValueError: An address is not `host:port`.
        """
        self._registry = registry
        self._namespace = namespace
        self._dispatcher = Dispatcher(addresses("dispatcher", dispatcher))
        self._thread = session_loop()
        self._agents: list[LegionAgent] = []

    def register_agent(
        self,
        agent_id: str,
        agent: AgentLike,
        capabilities: Sequence[str | Capability],
        **options: Unpack[RegisterOptions],
    ) -> LegionAgent:
        """Starts an agent of this process. Returns when the mesh has welcomed it, however long that takes.

        `close` stops it.

        Args:
            agent_id: Its durable identity, unique in its namespace.
            agent: A LegionAgent that was not started, an object with `execute` or `execute_async`, or a function.
            capabilities: What it can do.
            options: As for `LegionAgent`.

        Raises:
            AgentError: The Registry refuses it.
        """
        started = self._registered(agent_id, agent, capabilities, options)
        started.start()
        return started

    async def register_agent_async(
        self,
        agent_id: str,
        agent: AgentLike,
        capabilities: Sequence[str | Capability],
        **options: Unpack[RegisterOptions],
    ) -> LegionAgent:
        """As `register_agent`; coroutines of the agent run on the loop that awaits this."""
        started = self._registered(agent_id, agent, capabilities, options)
        await started.start_async()
        return started

    def dispatch_task(
        self,
        task_id: str | None,
        task_data: Mapping[str, Any],
        required_capability: str,
        *,
        timeout: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Gives the mesh a task and waits for its result, through restarts of the mesh.

        Args:
            task_id: The idempotency key: the same id with the same content is the same task. None: one is made.
            task_data: The input: a dict that can be written as JSON, of at most 2 MiB.
            required_capability: What an agent must be able to do.
            timeout: How long to wait, in seconds. None: as long as it takes.
            options: See `TaskOptions`.

        Returns:
            What the agent returned: a dict, as a rule.

        Raises:
            TaskFailedError: The task failed.
            TaskCanceledError: Somebody canceled it.
            WaitTimeoutError: The timeout passed. The task goes on.
            LegionError: The mesh refused it.
            RuntimeError: Called on an event loop, which it would block.
        """
        spec = task_spec(task_id, task_data, required_capability, self._namespace, options)
        with sending(spec):
            return self._thread.wait_for(self._run(spec, timeout), "dispatch_task_async")

    async def dispatch_task_async(
        self,
        task_id: str | None,
        task_data: Mapping[str, Any],
        required_capability: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the error says which task goes on
        **options: Unpack[TaskOptions],
    ) -> Any:
        """As `dispatch_task`. Canceling it ends the waiting; the task goes on."""
        spec = task_spec(task_id, task_data, required_capability, self._namespace, options)
        with sending(spec):
            return await self._thread.awaited(self._run(spec, timeout))

    def submit_task(
        self,
        task_id: str | None,
        task_data: Mapping[str, Any],
        required_capability: str,
        **options: Unpack[TaskOptions],
    ) -> str:
        """Gives the mesh a task and returns its id when it is stored.

        Its result comes with `dispatch_task` of the same id and content.

        Raises:
            LegionError: The mesh refused it, or could not be reached within 10 s.
        """
        spec = task_spec(task_id, task_data, required_capability, self._namespace, options)
        with sending(spec):
            return self._thread.wait_for(self._submit(spec), "submit_task_async")

    async def submit_task_async(
        self,
        task_id: str | None,
        task_data: Mapping[str, Any],
        required_capability: str,
        **options: Unpack[TaskOptions],
    ) -> str:
        """As `submit_task`."""
        spec = task_spec(task_id, task_data, required_capability, self._namespace, options)
        with sending(spec):
            return await self._thread.awaited(self._submit(spec))

    def cancel_task(self, task_id: str, reason: str = "", *, namespace: str | None = None) -> str:
        """Asks for a task to be stopped.

        Returns:
            Its state then: `CANCELED` if it waited, `LEASED` while its agent is being told, another if it had ended.

        Raises:
            LegionError: `NOT_FOUND`.
        """
        return self._thread.wait_for(self._cancel(task_id, reason, namespace), "cancel_task_async")

    async def cancel_task_async(self, task_id: str, reason: str = "", *, namespace: str | None = None) -> str:
        """As `cancel_task`."""
        return await self._thread.awaited(self._cancel(task_id, reason, namespace))

    def get_metrics(self) -> MeshMetrics:
        """Returns counters since the mesh was first started, and gauges.

        Raises:
            LegionError: The mesh could not be reached within 10 s.
        """
        return self._thread.wait_for(self._metrics(), "get_metrics_async")

    async def get_metrics_async(self) -> MeshMetrics:
        """As `get_metrics`."""
        return await self._thread.awaited(self._metrics())

    def health_check(self) -> MeshHealth:
        """Returns how the mesh is.

        Raises:
            LegionError: No Dispatcher answers. It is asked once.
        """
        return self._thread.wait_for(self._health(), "health_check_async")

    async def health_check_async(self) -> MeshHealth:
        """As `health_check`."""
        return await self._thread.awaited(self._health())

    def close(self) -> None:
        """Stops the agents, once they have finished what they hold, and ends the connection. Tasks go on."""
        for agent in self._take_agents():
            agent.stop()
        self._thread.wait_for(self._dispatcher.close(), "close_async")

    async def close_async(self) -> None:
        """As `close`."""
        await asyncio.gather(*(agent.stop_async() for agent in self._take_agents()))
        await self._thread.awaited(self._dispatcher.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close_async()

    def _registered(
        self, agent_id: str, agent: AgentLike, capabilities: Sequence[str | Capability], options: RegisterOptions
    ) -> LegionAgent:
        mine: RegisterOptions = {}
        if self._registry:
            mine["registry"] = self._registry
        if self._namespace:
            mine["namespace"] = self._namespace
        made = registered(agent_id, agent, capabilities, {**mine, **options})
        self._agents.append(made)
        return made

    def _take_agents(self) -> list[LegionAgent]:
        agents, self._agents = self._agents, []
        return agents

    async def _run(self, spec: TaskSpec, timeout: float | None) -> Any:  # noqa: ASYNC109
        patience = math.inf if timeout is None else timeout
        try:
            request = RunTaskRequest(task=spec)
            ran = await self._dispatcher.call("RunTask", request, RunTaskResponse, patience=patience, answer=None)
        except LegionError as error:
            if timeout is None or not (error.code == "DEADLINE_EXCEEDED" or is_transient(error)):
                raise
            # An answer that only took too long is no trouble.
            trouble = error.__cause__ if error.code == "DEADLINE_EXCEEDED" else error
            raise WaitTimeoutError(spec.task_id, timeout) from (trouble if isinstance(trouble, LegionError) else None)
        return task_result(ran.task)

    async def _submit(self, spec: TaskSpec) -> str:
        request = SubmitTaskRequest(task=spec)
        accepted = await self._dispatcher.call("SubmitTask", request, SubmitTaskResponse, patience=_PATIENCE)
        return accepted.task_id

    async def _cancel(self, task_id: str, reason: str, namespace: str | None) -> str:
        where = self._namespace if namespace is None else namespace
        request = CancelTaskRequest(namespace=where, task_id=task_id, reason=reason)
        canceled = await self._dispatcher.call("CancelTask", request, CancelTaskResponse, patience=_PATIENCE)
        with contextlib.suppress(ValueError):
            return TaskState.Name(canceled.state).removeprefix("TASK_STATE_")
        return "UNKNOWN"

    async def _metrics(self) -> MeshMetrics:
        got = await self._dispatcher.call("GetMetrics", GetMetricsRequest(), GetMetricsResponse, patience=_PATIENCE)
        return metrics_of(got)

    async def _health(self) -> MeshHealth:
        got = await self._dispatcher.call("GetHealth", GetHealthRequest(), GetHealthResponse, patience=0.0)
        return health_of(got)
