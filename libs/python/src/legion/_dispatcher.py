"""Calls to the Dispatcher."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from ._backoff import full_jitter
from ._status import is_transient, legion_error
from .errors import LegionError

Response = TypeVar("Response", bound=Message)

_SERVICE = "/legion.dispatcher.v1.DispatcherService"
_OPTIONS = [
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    # Finds a connection that swallows everything while a call waits for its task.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Who tries again waits here, not in the channel.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Dispatcher:
    """Stays with one address until that fails, then goes on to the next. On the session's loop only."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = random.sample(targets, len(targets))
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closed = False

    async def call(
        self, method: str, request: Message, response: type[Response], *, patience: float, answer: float | None = 10.0
    ) -> Response:
        """Calls; where nobody answers, again and again.

        Args:
            method: Its name.
            request: What to send.
            response: What comes back.
            patience: For how long it is tried again, in seconds; infinity: for ever.
            answer: How long an answer may take, in seconds; None: for as long as there is patience.

        Raises:
            LegionError: It was refused, or nobody has answered; `DEADLINE_EXCEEDED` if an answer did not come in time,
                with the last trouble as its cause.
        """
        give_up = time.monotonic() + patience
        trouble: LegionError | None = None
        for failures in range(1, 2**31):
            try:
                return await self._try(method, request, response, answer or give_up - time.monotonic())
            except LegionError as error:
                delay = max(full_jitter(failures, initial=0.1, maximum=2.0), error.retry_delay or 0.0)
                late = time.monotonic() + delay > give_up
                if error.code == "DEADLINE_EXCEEDED" and late and trouble is not None:
                    raise error from trouble
                if late or self._closed or not (is_transient(error) or error.code == "DEADLINE_EXCEEDED"):
                    raise
                trouble = error
            await asyncio.sleep(delay)
        raise AssertionError

    async def close(self) -> None:
        """Ends the connections; whoever waits is told so with `CLOSED`."""
        self._closed = True
        for channel in self._channels.values():
            await channel.close()

    async def _try(self, method: str, request: Message, response: type[Response], seconds: float) -> Response:
        if self._closed:
            raise LegionError("This LegionCore is closed.", code="CANCELLED", reason="CLOSED")
        target = self._targets[0]
        if target not in self._channels:
            self._channels[target] = grpc.aio.insecure_channel(target, _OPTIONS)
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Response] = self._channels[target].unary_unary(
            f"{_SERVICE}/{method}", _serialize, response.FromString
        )
        try:
            return await call(request, timeout=None if seconds == math.inf else max(seconds, 0.0))
        except grpc.aio.AioRpcError as error:
            failure = legion_error(error)
            if (is_transient(failure) or failure.code == "DEADLINE_EXCEEDED") and target == self._targets[0]:
                self._targets.append(self._targets.pop(0))
            if failure.reason or failure.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
                raise failure from error
            what = "No Dispatcher answers" if failure.code == "UNAVAILABLE" else "No answer in time from the Dispatcher"
            raise LegionError(f"{what} at {target}: {failure}", code=failure.code) from error
        except asyncio.CancelledError:
            if self._closed:
                raise LegionError("This LegionCore was closed.", code="CANCELLED", reason="CLOSED") from None
            raise


def _serialize(request: Message) -> bytes:
    return request.SerializeToString()
