"""An agent's life from its start to its end."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar

from ._addresses import addresses
from ._execution import Handlers
from ._loop import session_loop
from ._options import Capability, capabilities_of, labels_of, sdk
from ._proto.session_pb2 import Hello
from ._runner import Runner
from ._session import Session, SessionState
from .errors import AgentError

T = TypeVar("T")
AgentState = Literal["starting", "active", "suspended", "draining", "stopped"]

log = logging.getLogger("legion")

# What an outcome may take to be acknowledged once everything is answered.
_LAST_WORDS = 2.0


class Described(Handlers, Protocol):
    """An agent, as its life sees it."""

    capabilities: Sequence[str | Capability]
    name: str
    version: str
    agent_id: str
    namespace: str
    labels: dict[str, str]
    slots: int
    registry: str | None
    cancel_grace: float

    def on_connected(self, session_id: str, resumed: bool) -> None:
        """A Registry has welcomed it."""

    def on_draining(self, reason: str) -> None:
        """It takes nothing new any more."""


class Life:
    """Begun once. Its coroutines run on the session's loop; `wait_for` and `awaited` run them from elsewhere."""

    def __init__(self, agent: Described) -> None:
        """Checks what can be checked without the mesh.

        Raises:
            ValueError: An address or a schema cannot be used.
        """
        self._agent = agent
        self._thread = session_loop()
        self._targets = addresses("registry", agent.registry)
        self._hello = hello_of(agent)
        self._session: Session | None = None
        self._welcomed = False
        self._begun = asyncio.Event()
        self._over = asyncio.Event()
        self._error: BaseException | None = None
        self._draining: asyncio.Task[None] | None = None
        self.runner: Runner | None = None
        self.state: AgentState = "starting"
        self.since = datetime.now(UTC)

    @property
    def session_id(self) -> str:
        """Empty before the first welcome."""
        return self._session.session_id if self._session else ""

    def begin(self) -> None:
        """Connects."""
        self._thread.submit(self._run())

    def wait_for(self, coroutine: Coroutine[Any, Any, T], instead: str) -> T:
        """Runs a coroutine of this life and waits for it."""
        return self._thread.wait_for(coroutine, instead)

    async def awaited(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine of this life; awaited on any loop."""
        return await self._thread.awaited(coroutine)

    async def started(self, timeout: float | None) -> None:  # noqa: ASYNC109 - it stops the agent too
        """Returns when the agent was welcomed; raises AgentError if it never will be, TimeoutError."""
        try:
            async with asyncio.timeout(timeout):
                await self._begun.wait()
        except (TimeoutError, asyncio.CancelledError):
            self.drain("The agent stops.")
            raise
        if not self._welcomed:
            raise self._error or AgentError("STOPPED", "The agent was stopped before it had reached a Registry.")

    async def over(self) -> None:
        """Returns when it was stopped or drained; raises what ended it."""
        await self._over.wait()
        if self._error is not None:
            raise self._error

    async def stopped(self, timeout: float) -> None:  # noqa: ASYNC109 - what runs is asked to stop then
        """Drains; what still runs after the timeout is asked to stop, then answered for. Never raises."""
        draining = self.drain("The agent stops.")
        await asyncio.wait({draining}, timeout=timeout)
        if not draining.done() and self.runner is not None:
            self.runner.cancel_all()
            grace = self._agent.cancel_grace if self.runner.in_flight else 0.0
            await asyncio.wait({draining}, timeout=grace + _LAST_WORDS)
            if self._session is not None:
                self._session.end()
        await self._over.wait()

    def drain(self, reason: str) -> "asyncio.Task[None]":
        """Takes nothing new and ends when nothing is held; once for all who ask."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(reason))
            if self.state != "stopped":
                self._become("draining")
                with _logged("on_draining"):
                    self._agent.on_draining(reason)
        return self._draining

    def on_state(self, state: SessionState) -> None:
        """The session's state has changed."""
        if self._draining is None or state == "stopped":
            self._become(state)

    def on_welcome(self, session_id: str, resumed: bool) -> None:
        """A stream carries the session."""
        self._welcomed = True
        self._begun.set()
        with _logged("on_connected"):
            self._agent.on_connected(session_id, resumed)

    def on_drain(self, reason: str) -> None:
        """The mesh asks this agent to end."""
        self.drain(reason)

    async def _run(self) -> None:
        self.runner = Runner(self._agent, self._hello, self._agent.cancel_grace, self._wake)
        self._session = Session(self._targets, self._hello, self.runner, self)
        try:
            await self._session.run()
        except BaseException as error:
            if not isinstance(error, AgentError | asyncio.CancelledError):
                log.exception("a defect in the session")
            self._error = error
        finally:
            self._begun.set()
            self._over.set()

    async def _drain(self, reason: str) -> None:
        assert self._session is not None
        assert self.runner is not None
        self._session.drain(reason)
        await self.runner.empty.wait()
        self._session.end()
        await self._over.wait()

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    def _become(self, state: AgentState) -> None:
        if state != self.state:
            self.state, self.since = state, datetime.now(UTC)


@contextlib.contextmanager
def _logged(hook: str) -> Iterator[None]:
    """An author's mistake in a hook is no reason to end the session."""
    try:
        yield
    except Exception:
        log.exception("%s raised", hook)


def hello_of(agent: Described) -> Hello:
    """Returns what it says first, without what only the session knows."""
    labels: Mapping[str, str] = agent.labels
    return Hello(
        namespace=agent.namespace,
        agent_id=agent.agent_id,
        name=agent.name,
        version=agent.version,
        capabilities=[capability.message() for capability in capabilities_of(agent.capabilities)],
        slots=agent.slots,
        labels=labels_of(labels),
        resumable=True,
        sdk=sdk(),
    )
