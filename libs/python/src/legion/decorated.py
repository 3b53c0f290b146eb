"""The short way to write an agent."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

from ._handlers import Handler, as_handler
from ._options import AgentOptions, Capability
from .agent import LegionAgent
from .errors import TaskError

F = TypeVar("F", bound=Callable[..., Any])


class Agent(LegionAgent):
    """An agent made of functions:

    ```python
    agent = Agent("greeter", version="1")

    @agent.capability("greet")
    def greet(data, context):
        return {"greeting": f"Hello, {data['name']}!"}

    agent.run()
    ```

    Plain functions run in threads, coroutine functions on the event loop. A function may leave `context` out.
    """

    def __init__(self, name: str, **options: Unpack[AgentOptions]) -> None:
        """Makes one without capabilities; the options are those of `LegionAgent`."""
        super().__init__(name, **options)
        self._handlers: dict[str, Handler] = {}
        self.capabilities = []

    def capability(
        self, name: str | None = None, *, slots: int = 0, input_schema: Mapping[str, Any] | None = None
    ) -> Callable[[F], F]:
        """Makes a function the handler of a capability; the function itself stays as it is.

        Args:
            name: Which; by default the function's name.
            slots: How many of its tasks run at once, within the agent's slots. 0: as many as those.
            input_schema: A JSON Schema that a task's data must match; the mesh checks it.

        Raises:
            ValueError: There is a handler already.
            TypeError: The function does not take one or two arguments.
        """

        def add(function: F) -> F:
            called = name or function.__name__
            if called in self._handlers:
                raise ValueError(f"{self.name} has a handler of {called} already.")
            self._handlers[called] = as_handler(function)
            self.capabilities = [*self.capabilities, Capability(called, slots, input_schema)]
            return function

        return add

    def handler_of(self, capability: str) -> Handler:
        """Returns the function."""
        handler = self._handlers.get(capability)
        if handler is None:
            raise TaskError("NOT_IMPLEMENTED", f"{self.name} has no handler of {capability}.", retryable=False)
        return handler
