"""A Registry that does what a test tells it, on a real gRPC server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from legion._proto.error_details_pb2 import ErrorInfo
from legion._proto.payload_pb2 import Payload
from legion._proto.session_pb2 import (
    Assignment,
    AttemptOutcome,
    ConnectRequest,
    ConnectResponse,
    Hello,
    Welcome,
)
from legion._proto.status_pb2 import Status

Context = grpc.aio.ServicerContext[ConnectRequest, ConnectResponse]


class FakeStream:
    """One agent's stream, seen from the Registry."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seq = 0
        self._writing = asyncio.Lock()
        self._changed = asyncio.Condition()
        self.frames: list[ConnectRequest] = []
        self.over = asyncio.Event()
        self.breaks = asyncio.Event()
        self.broken = grpc.StatusCode.OK, ""

    @property
    def hello(self) -> Hello:
        return self.frames[0].hello

    @property
    def outcomes(self) -> list[AttemptOutcome]:
        return [outcome for frame in self.frames for outcome in frame.outcomes]

    async def send(self, **fields: Any) -> None:
        async with self._writing:
            self._seq += 1
            await self._context.write(ConnectResponse(seq=self._seq, **fields))

    async def welcome(self, *, heartbeat: float = 3.0, lease: float = 10.0, **fields: Any) -> None:
        defaults = {"session_id": self.hello.session_id or "session-1", "resumed": bool(self.hello.session_id)}
        pulse = {"heartbeat_interval": _duration(heartbeat), "lease_duration": _duration(lease)}
        await self.send(welcome=Welcome(**{**defaults, **pulse, **fields}))

    async def assign(self, task_id: str, capability: str, data: Any = None, **fields: Any) -> None:
        payload = Payload(data=json.dumps(data or {}).encode())
        given = {"attempt": 1, "max_attempts": 3, **fields}
        await self.send(assignments=[Assignment(task_id=task_id, capability=capability, task_data=payload, **given)])

    async def outcome(self, task_id: str) -> AttemptOutcome:
        await self.until(lambda: any(outcome.task_id == task_id for outcome in self.outcomes))
        return next(outcome for outcome in self.outcomes if outcome.task_id == task_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    async def abort(self, code: grpc.StatusCode, reason: str = "") -> None:
        """Ends the stream with an error of the mesh."""
        self._context.set_trailing_metadata(details(ErrorInfo(reason=reason, domain="legion")))
        self.broken = code, reason
        self.breaks.set()

    async def took(self, frame: ConnectRequest) -> None:
        async with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()


class FakeRegistry:
    """Listens on a port of its own; what came is in `streams`."""

    def __init__(self, on_hello: Callable[[FakeStream], Any] | None = None, *, acknowledges: bool = True) -> None:
        self._on_hello = on_hello or FakeStream.welcome
        self._acknowledges = acknowledges
        self._changed = asyncio.Condition()
        self._server = grpc.aio.server()
        self.streams: list[FakeStream] = []
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect, ConnectRequest.FromString, ConnectResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("legion.registry.v1.RegistryService", {"Connect": handler})
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def stream(self, number: int) -> FakeStream:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.streams) > number)
        return self.streams[number]

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._server.stop(0)

    async def _connect(self, requests: AsyncIterator[ConnectRequest], context: Context) -> None:
        stream = FakeStream(context)
        taking = asyncio.create_task(self._take(stream, requests))
        breaking = asyncio.create_task(stream.breaks.wait())
        try:
            await asyncio.wait({taking, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if breaking.done():
                await context.abort(*stream.broken)
        finally:
            taking.cancel()
            breaking.cancel()
            stream.over.set()

    async def _take(self, stream: FakeStream, requests: AsyncIterator[ConnectRequest]) -> None:
        async for frame in requests:
            await stream.took(frame)
            if len(stream.frames) == 1:
                await self._on_hello(stream)
                async with self._changed:
                    self.streams.append(stream)
                    self._changed.notify_all()
            if self._acknowledges and frame.outcomes:
                await stream.send(ack=frame.seq)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def details(*messages: Message) -> tuple[tuple[str, bytes], ...]:
    """What the mesh sends with an error, as trailing metadata."""
    status = Status()
    for message in messages:
        name = type(message).__name__
        status.details.add(type_url=f"type.googleapis.com/google.rpc.{name}", value=message.SerializeToString())
    return (("grpc-status-details-bin", status.SerializeToString()),)
