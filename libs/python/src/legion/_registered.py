"""An agent under an identity and with capabilities that somebody else chose."""

from collections.abc import Callable, Sequence
from typing import Any

from ._execution import Handler
from ._options import Capability
from .agent import LegionAgent
from .decorated import as_handler

# A LegionAgent that was not started, an object with `execute` or `execute_async`, or a function.
AgentLike = LegionAgent | Callable[..., Any] | object


class RegisteredAgent(LegionAgent):
    """Runs what it was given."""

    def __init__(
        self, agent_id: str, agent: AgentLike, capabilities: Sequence[str | Capability], **options: Any
    ) -> None:
        """Makes one.

        Raises:
            TypeError: It is neither a function nor has it an `execute` or `execute_async`.
        """
        if isinstance(agent, LegionAgent):
            known = {"name": agent.name, "version": agent.version, "slots": agent.slots, "labels": agent.labels}
        else:
            known = {"name": getattr(agent, "__name__", type(agent).__name__)}
        super().__init__(**{**known, **options}, agent_id=agent_id, capabilities=capabilities)
        self._of: Callable[[str], Handler]
        if isinstance(agent, LegionAgent):
            self._of = agent.handler_of
        else:
            handler = as_handler(_callable(agent))
            self._of = lambda _capability: handler

    def handler_of(self, capability: str) -> Handler:
        """Returns what the agent has for it."""
        return self._of(capability)


def _callable(agent: object) -> Callable[..., Any]:
    for name in ("execute_async", "execute"):
        found: Callable[..., Any] | None = getattr(agent, name, None)
        if callable(found):
            return found
    if callable(agent):
        return agent
    raise TypeError("An agent is a function, or has an execute or execute_async method.")
