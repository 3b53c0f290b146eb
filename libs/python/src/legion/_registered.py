"""Whatever does tasks, under an identity and with capabilities that somebody else chose."""

from collections.abc import Callable, Sequence
from typing import Any

from ._handlers import Handler, as_handler
from ._options import Capability, RegisterOptions
from .agent import LegionAgent

# A LegionAgent that was not started, an object with `execute` or `execute_async`, or a function.
AgentLike = LegionAgent | Callable[..., Any] | object


class RegisteredAgent(LegionAgent):
    """Runs a function, or an object's method."""

    def __init__(self, agent: object, **options: Any) -> None:
        """Makes one; called what the function or the object's class is called.

        Raises:
            TypeError: It is neither a function nor has it an `execute` or `execute_async`.
        """
        super().__init__(**{"name": getattr(agent, "__name__", type(agent).__name__), **options})
        self._handler = as_handler(_callable(agent))

    def handler_of(self, capability: str) -> Handler:
        """Returns it, whatever is asked for."""
        del capability
        return self._handler


def registered(
    agent_id: str, agent: AgentLike, capabilities: Sequence[str | Capability], options: RegisterOptions
) -> LegionAgent:
    """Returns an agent that can be started: the one that was given, if it is one."""
    chosen = {**options, "agent_id": agent_id, "capabilities": list(capabilities)}
    if not isinstance(agent, LegionAgent):
        return RegisteredAgent(agent, **chosen)
    for name, value in chosen.items():
        if name not in vars(agent):
            raise TypeError(f"An agent has no option {name!r}.")
        setattr(agent, name, value)
    return agent


def _callable(agent: object) -> Callable[..., Any]:
    for name in ("execute_async", "execute"):
        found: Callable[..., Any] | None = getattr(agent, name, None)
        if callable(found):
            return found
    if callable(agent):
        return agent
    raise TypeError("An agent is a function, or has an execute or execute_async method.")
