"""One stream to one Registry."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

import grpc
import grpc.aio

from ._attempt import Attempt
from ._proto.session_pb2 import ConnectRequest, ConnectResponse, Drain, Heartbeat, Hello, Welcome
from ._runner import Runner
from ._status import legion_error
from .errors import LegionError

_METHOD = "/legion.registry.v1.RegistryService/Connect"
_OPTIONS = [
    # A connection of its own: one that is shared would bring its back-off along.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
]
_END_LIMIT = 2.0


@dataclass(frozen=True)
class Pulse:
    """As the mesh said in its welcome, in seconds."""

    heartbeat: float = 3.0
    lease: float = 10.0


class FrameSink(Protocol):
    """Who is told of frames."""

    def on_frame(self, frame: ConnectResponse) -> None:
        """Called for each frame, the first one included."""


class Stream:
    """Numbers and acknowledges frames, beats, writes what waits. Opened once, carries once."""

    def __init__(self, target: str, runner: Runner, sink: FrameSink) -> None:
        self.target = target
        self._runner = runner
        self._sink = sink
        self._channel = grpc.aio.insecure_channel(target, _OPTIONS)
        self._call: grpc.aio.StreamStreamCall[ConnectRequest, ConnectResponse] = self._channel.stream_stream(
            _METHOD,
            request_serializer=_serialize,
            response_deserializer=ConnectResponse.FromString,
        )()
        self._wake = asyncio.Event()
        self._sent = 0
        self._received = 0
        self._acknowledged = 0
        self._beat = False
        self._silent_beats = 0
        self._drain: str | None = None
        self._held = False
        self._deferred: list[ConnectResponse] = []
        self._finishing = False

    async def open(self, hello: Hello, limit: float) -> Welcome:
        """Says hello and returns the welcome; the rest of that frame comes with `carry`.

        Raises:
            LegionError: The Registry refused, or nobody answered within `limit` seconds.
        """
        frame: ConnectResponse | None = None
        why = f"{self.target} ended the stream, or sent something else, before its welcome."
        try:
            async with asyncio.timeout(limit):
                with contextlib.suppress(LegionError):  # reading says why
                    await self._write(ConnectRequest(hello=hello))
                frame = await self._read()
        except TimeoutError:
            why = f"{self.target} did not answer within {limit:g} s."
        finally:
            if frame is None:
                await self.close()
        if frame is None or not frame.HasField("welcome"):
            await self.close()
            raise _unavailable(why)
        self._deferred.append(frame)
        return frame.welcome

    async def carry(self, pulse: Pulse) -> None:
        """Carries the session until the stream has ended in order.

        Raises:
            LegionError: It broke, or nothing was heard for the length of the lease.
        """
        for frame in self._take_deferred():
            self._receive(frame)
        parts = [asyncio.create_task(part) for part in (self._read_on(), self._keep_time(pulse), self._write_on())]
        reading, timing, writing = parts
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not reading.done() and not timing.done():
                await writing
                await asyncio.wait({reading, timing}, return_when=asyncio.FIRST_COMPLETED)
            await (reading if reading.done() else timing)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            # They hold the call by what they raised, and so would who is told of the error.
            del part, parts, reading, timing, writing
            await self.close()

    def wake(self) -> None:
        """There is something to write."""
        self._wake.set()

    def drain(self, reason: str) -> None:
        """Tells the Registry that nothing new is taken."""
        self._drain = reason
        self.wake()

    def hold(self) -> None:
        """Puts frames aside, and sends nothing, until `release`: the session may go on elsewhere."""
        self._held = True

    def release(self) -> None:
        """The session goes on here."""
        self._held = False
        for frame in self._take_deferred():
            self._receive(frame)
        self.wake()

    async def finish(self, carrying: asyncio.Task[None]) -> None:
        """Says that no more is sent, and waits for the Registry to end the stream, for 2 s."""
        self._finishing = True
        self.wake()
        await asyncio.wait({carrying}, timeout=_END_LIMIT)
        carrying.cancel()
        with contextlib.suppress(asyncio.CancelledError, LegionError):
            await carrying

    async def close(self) -> None:
        """Drops the connection."""
        call = self.__dict__.pop("_call", None)
        if call is not None:
            call.cancel()
            del call  # a call that is known to anybody keeps its connection open
            await self._channel.close()

    async def _read(self) -> ConnectResponse | None:
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            failure = legion_error(error)
        else:
            return frame if isinstance(frame, ConnectResponse) else None
        # Here, so that it does not bring the call along as its context.
        raise failure

    async def _read_on(self) -> None:
        while (frame := await self._read()) is not None:
            self._silent_beats = 0
            if self._held:
                self._deferred.append(frame)
            else:
                self._receive(frame)

    def _receive(self, frame: ConnectResponse) -> None:
        self._received = frame.seq
        if frame.ack > 0:
            self._runner.acknowledge(frame.ack)
        for assignment in frame.assignments:
            self._runner.accept(assignment)
        self._sink.on_frame(frame)
        self.wake()

    def _take_deferred(self) -> list[ConnectResponse]:
        frames, self._deferred = self._deferred, []
        return frames

    async def _keep_time(self, pulse: Pulse) -> None:
        # "At least every interval": a timer is never early and often late.
        every = pulse.heartbeat * 0.9
        while True:
            await asyncio.sleep(every)
            self._silent_beats += 1
            # In beats, not by a clock: a process that was stopped hears nothing either, and must not blame the peer.
            if self._silent_beats * every > pulse.lease + every:
                raise _unavailable(f"Nothing was heard from {self.target} for {pulse.lease:g} s.")
            self._beat = True
            self.wake()

    async def _write_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while not self._held and (composed := self._compose()) is not None:
                frame, accepted = composed
                try:
                    await self._write(frame)
                except LegionError:  # what ends the writing ends the reading too, and that says why
                    return
                finally:
                    # Also when the stream is broken: what was accepted is ours for as long as the lease.
                    self._runner.start(accepted)
            if self._finishing:
                await self._call.done_writing()
                return

    def _compose(self) -> tuple[ConnectRequest, list[Attempt]] | None:
        outcomes = self._runner.outbox.take(self._sent + 1)
        progress = self._runner.progress.take()
        if not (outcomes or progress or self._beat) and self._drain is None and self._acknowledged == self._received:
            return None
        frame = ConnectRequest(outcomes=outcomes, progress=progress)
        if self._beat:
            frame.heartbeat.CopyFrom(Heartbeat())
        if self._drain is not None:
            frame.drain.CopyFrom(Drain(reason=self._drain))
        self._beat, self._drain = False, None
        return frame, self._runner.take_accepted()

    async def _write(self, frame: ConnectRequest) -> None:
        self._sent += 1
        frame.seq = self._sent
        frame.ack = self._acknowledged = self._received
        try:
            await self._call.write(frame)
        except grpc.aio.AioRpcError as error:
            failure = legion_error(error)
        except asyncio.InvalidStateError:
            failure = _unavailable(f"{self.target} has ended the stream.")
        else:
            return
        raise failure


def _unavailable(message: str) -> LegionError:
    return LegionError(message, code="UNAVAILABLE")


def _serialize(frame: ConnectRequest) -> bytes:
    return frame.SerializeToString()
