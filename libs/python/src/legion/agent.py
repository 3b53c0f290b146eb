"""The base class of agents."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypedDict

from ._handlers import Handler, as_handler
from ._life import AgentState, Life
from ._loop import LoopThread
from ._options import Capability, default_agent_id
from ._signals import stopped_by_signals
from .context import TaskContext
from .errors import TaskError


class AgentStatus(TypedDict):
    """What an agent is doing, at the moment it was asked."""

    state: AgentState
    """`starting`: not welcomed yet; `active`: takes tasks; `suspended`: the stream is broken, what runs goes on;
    `draining`: takes nothing new; `stopped`: done."""
    since: datetime
    """Since when it is in that state."""
    namespace: str
    agent_id: str
    name: str
    version: str
    session_id: str
    """The present session, or the last; empty before the first."""
    slots: int
    in_flight: int
    """Tasks that it holds and has not answered."""
    unacknowledged: int
    """Answers that the mesh has not recorded yet."""
    completed: int
    failed: int
    canceled: int


class LegionAgent:
    """A program that does tasks.

    Subclass it, say what it can do in `capabilities`, and implement `execute` or `execute_async`; `Agent` is the short
    way. It runs once: started, stopped, done.
    """

    capabilities: Sequence[str | Capability] = ()
    """What the agent can do. Read when it starts."""

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str = "0",
        agent_id: str | None = None,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        slots: int = 16,
        capabilities: Sequence[str | Capability] | None = None,
        registry: str | None = None,
        cancel_grace: float = 5.0,
    ) -> None:
        """Makes one; it connects when it is started.

        Args:
            name: What the program is called; agents of one name are interchangeable but for their version. By default
                the class's name.
            version: The program's version; rollouts are by it.
            agent_id: The durable identity, unique in the namespace: a second process with the same one stops the
                first. By default made of name, host and chance, so that any number of processes run side by side.
            namespace: The tenant.
            labels: What tasks may ask for, such as `{"region": "eu"}`. At most 64.
            slots: How many tasks it takes at once. Choose 1 for handlers that burn CPU, hundreds for those that wait.
            capabilities: Instead of the class's.
            registry: `host:port`, or several separated by commas. By default LEGION_REGISTRY from the environment;
                else, with LEGION_PORT_BASE, 127.0.0.1 and that port + 1; else 127.0.0.1:7401.
            cancel_grace: How long a handler may go on after it was asked to stop, in seconds; then it is answered for.
        """
        self.name = name or type(self).__name__
        self.version = version
        self.agent_id = agent_id or default_agent_id(self.name)
        self.namespace = namespace
        self.labels = dict(labels or {})
        self.slots = slots
        self.registry = registry
        self.cancel_grace = cancel_grace
        self.capabilities = list(self.capabilities if capabilities is None else capabilities)
        self._life: Life | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own_loop: LoopThread | None = None
        self._lock = threading.Lock()

    def execute(self, task_data: dict[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Does a task, in a thread.

        What it returns is the result: a dict that can be written as JSON. What it raises becomes a failure that is
        tried again, unless it is a TaskError that says otherwise. A subclass may leave `context` out.

        It should look at `context.canceled`, call `context.check` now and then, or sleep by `context.sleep`.
        """
        message = f"{self.name} has no implementation of {context.capability}."
        raise TaskError("NOT_IMPLEMENTED", message, retryable=False)

    async def execute_async(self, task_data: dict[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """The same on the event loop; where a subclass implements it, tasks come here.

        That loop is the one that awaited `start_async` or `run_async`; with `run` the main thread's, with `start` one
        in a thread of its own. When the attempt is to stop, the coroutine is canceled.
        """
        return await asyncio.to_thread(self.execute, task_data, context)

    def on_connected(self, session_id: str, resumed: bool) -> None:
        """Called each time that a Registry has welcomed the agent, on an internal thread: to be quick about it."""

    def on_draining(self, reason: str) -> None:
        """Called once when the agent takes nothing new any more, on an internal thread: to be quick about it."""

    def on_begin(self, context: TaskContext) -> None:
        """Called before each execution, where its handler runs. What it raises fails the attempt."""

    def on_end(self, context: TaskContext, error: BaseException | None) -> None:
        """Called after each execution, where its handler ran, with what it raised."""

    def start(self, timeout: float | None = None) -> None:
        """Connects, and keeps the agent connected until it is stopped. Returns when the mesh has welcomed it.

        While no Registry can be reached it tries on, and says so in the log `legion`.

        Args:
            timeout: In seconds; None: as long as it takes.

        Raises:
            AgentError: The Registry refuses the agent for a mistake that another try would not mend.
            TimeoutError: It was not welcomed in time. It has been stopped.
            ValueError: An address or a schema cannot be used.
            RuntimeError: It was started before; or called on an event loop, which it would block.
        """
        life = self._begin(None)
        life.wait_for(life.started(timeout), "start_async")

    async def start_async(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - it stops the agent too
        """As `start`. The loop that awaits it runs the coroutines of this agent."""
        life = self._begin(asyncio.get_running_loop())
        await life.awaited(life.started(timeout))

    def stop(self, timeout: float = 20.0) -> None:
        """Takes nothing new, finishes what runs, and ends the session. Does nothing twice.

        Args:
            timeout: How long to wait for what runs, in seconds. Then it is asked to stop, and given `cancel_grace` for
                that. The default stays within the 30 s that Kubernetes gives.
        """
        if (life := self._life) is not None:
            life.wait_for(life.stopped(timeout), "stop_async")
        if self._own_loop is not None:
            self._own_loop.stop()

    async def stop_async(self, timeout: float = 20.0) -> None:  # noqa: ASYNC109 - what runs is given it, not the caller
        """As `stop`."""
        if (life := self._life) is not None:
            await life.awaited(life.stopped(timeout))

    def wait(self) -> None:
        """Waits until a started agent is done: stopped, or asked by the mesh to end.

        Raises:
            AgentError: What ended it, such as `SESSION_FENCED` when another process uses its agent id.
        """
        life = self._started()
        life.wait_for(life.over(), "wait_async")

    async def wait_async(self) -> None:
        """As `wait`."""
        life = self._started()
        await life.awaited(life.over())

    def run(self, stop_timeout: float = 20.0) -> None:
        """Starts the agent and waits until it is done. The main program of a process that is an agent.

        SIGTERM and SIGINT stop it as `stop` does; a second one ends the process at once with code 1.

        Args:
            stop_timeout: How long to wait for what runs, in seconds; as for `stop`.

        Raises:
            AgentError: What ended it, or kept it from starting.
        """
        asyncio.run(self.run_async(stop_timeout))

    async def run_async(self, stop_timeout: float = 20.0) -> None:
        """As `run`, within a program that has an event loop; signals only if it is the main thread's."""
        loop = asyncio.get_running_loop()
        life = self._begin(loop)
        with stopped_by_signals(loop, life, stop_timeout):
            await life.awaited(life.over())

    def get_status(self) -> AgentStatus:
        """Returns what the agent is doing now. From any thread."""
        life = self._life
        runner = life.runner if life else None
        counts = runner.counts if runner else {}
        return {
            "state": life.state if life else "starting",
            "since": life.since if life else datetime.now().astimezone(),
            "namespace": self.namespace,
            "agent_id": self.agent_id,
            "name": self.name,
            "version": self.version,
            "session_id": life.session_id if life else "",
            "slots": self.slots,
            "in_flight": runner.in_flight if runner else 0,
            "unacknowledged": len(runner.outbox) if runner else 0,
            "completed": counts.get("completed", 0),
            "failed": counts.get("failed", 0),
            "canceled": counts.get("canceled", 0),
        }

    def handler_of(self, capability: str) -> Handler:
        """Returns what runs tasks of that capability; for subclasses that have one for each."""
        del capability
        overridden = type(self).execute_async is not LegionAgent.execute_async
        return as_handler(self.execute_async if overridden else self.execute)

    def handler_loop(self) -> asyncio.AbstractEventLoop:
        """Returns the loop on which coroutines run."""
        with self._lock:
            if self._loop is None:
                self._own_loop = LoopThread("legion-handlers")
                self._loop = self._own_loop.loop
            return self._loop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await self.start_async()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop_async()

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> Life:
        with self._lock:
            if self._life is not None:
                raise RuntimeError("An agent is started only once.")
            self._loop = loop
            self._life = Life(self)
        self._life.begin()
        return self._life

    def _started(self) -> Life:
        if self._life is None:
            raise RuntimeError("The agent was not started.")
        return self._life
