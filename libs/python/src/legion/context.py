"""What a handler is told about the attempt it runs, and what it can say meanwhile."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .errors import AttemptCanceled

ProgressSink = Callable[[float, str, Any], None]

_UNIT = re.compile(r"[A-Za-z0-9_]{0,63}")
_MAX_COSTS = 16
_MAX_AMOUNT = 10**12


@dataclass(eq=False)
class TaskContext:
    """One attempt at one task.

    To try a handler by hand, make one: `greet({"name": "Ada"}, TaskContext())`.
    """

    task_id: str = ""
    attempt: int = 1
    """Which attempt this is, from 1."""
    max_attempts: int = 1
    """How many the task has in all."""
    capability: str = ""
    """Which of the agent's capabilities is asked for."""
    user: str = ""
    """Whom the task is for, as the client named it; empty: nobody in particular."""
    labels: Mapping[str, str] = field(default_factory=dict)
    deadline: datetime | None = None
    """When the attempt will be stopped, with its time zone; None without an execution timeout."""
    traceparent: str = ""
    """W3C trace context for what the handler calls; empty when the task is not traced."""
    tracestate: str = ""
    canceled: threading.Event = field(default_factory=threading.Event)
    """Set when the attempt is to stop. A coroutine need not look: it is canceled as asyncio does it."""
    cancellation: AttemptCanceled | None = None
    """Why, once `canceled` is set."""
    costs: dict[str, int] = field(default_factory=dict)
    """As reported by `report_costs`."""
    pause: tuple[float, str] | None = None
    """As asked for by `pause_limit`."""
    on_progress: ProgressSink = field(default=lambda fraction, message, output: None, repr=False)

    def check(self) -> None:
        """Returns if the attempt may go on. To be called now and then by a handler that runs in a thread.

        Raises:
            AttemptCanceled: It is to stop. Not to be caught, or to be raised again.
        """
        if self.canceled.is_set():
            raise self.cancellation or AttemptCanceled("REQUESTED")

    def sleep(self, seconds: float) -> None:
        """Sleeps in a handler that runs in a thread, until the attempt is to stop.

        Raises:
            AttemptCanceled: It is to stop.
        """
        self.canceled.wait(max(0.0, seconds))
        self.check()

    def progress(self, fraction: float, message: str = "", output: Any = None) -> None:
        """Tells whoever watches the task. Nothing waits for it and it may be lost.

        Args:
            fraction: How much is done, 0 to 1.
            message: For people; at most 1 KiB is kept.
            output: Partial output: any JSON value, at most 64 KiB as JSON; larger is left out.

        Raises:
            TypeError, ValueError: `output` cannot be written as JSON.
        """
        self.on_progress(fraction, message, output)

    def report_costs(self, costs: Mapping[str, int]) -> None:
        """Says what the execution really costs, by unit, such as `{"llm_tokens": 1_200}`.

        It settles the estimate that was reserved. Called again, units given anew replace their former amount.

        Raises:
            ValueError: An amount is not a whole number from 0 to 10^12, a unit is misspelt, or there are
                more than 16.
        """
        for unit, amount in costs.items():
            if not _UNIT.fullmatch(unit):
                raise ValueError(f"A cost's unit cannot be called {unit!r}.")
            if type(amount) is not int or not 0 <= amount <= _MAX_AMOUNT:
                raise ValueError(f"A cost of {amount!r} {unit} is no whole number from 0 to 10^12.")
        if len(self.costs.keys() | costs.keys()) > _MAX_COSTS:
            raise ValueError(f"An execution has costs in at most {_MAX_COSTS} units.")
        self.costs.update(costs)

    def pause_limit(self, delay: float, limit: str = "") -> None:
        """Asks that a limit admits nothing for a while, because something that the handler called refused it.

        Sent with the outcome. Nothing is asked for a delay of 0 or less.

        Args:
            delay: In seconds; more than 24 h count as 24 h.
            limit: Its name. Empty: every limit that the task was counted against.

        Raises:
            ValueError: The delay is not a number.
        """
        if delay != delay:
            raise ValueError("A pause cannot last NaN seconds.")
        self.pause = (delay, limit) if delay > 0 else None
