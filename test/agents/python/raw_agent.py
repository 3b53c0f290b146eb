"""A Legion agent in Python: all that an agent must do, and nothing that it may.

It needs only the stubs that grpcio-tools generates:
    pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs \
        proto/legion/registry/v1/*.proto proto/legion/common/v1/*.proto proto/buf/validate/validate.proto
    PYTHONPATH=stubs LEGION_REGISTRY=127.0.0.1:7401 python raw_agent.py
"""

import json
import os
import platform
import queue
import random
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from legion.common.v1 import outcome_pb2, payload_pb2
from legion.registry.v1 import capability_pb2, registry_service_pb2_grpc, session_pb2

REGISTRY = os.environ.get("LEGION_REGISTRY", "127.0.0.1:7401").split(",")
AGENT_ID = os.environ.get("AGENT_ID", f"python-{socket.gethostname()}-{os.getpid()}")
SLOTS = 8
HANDLERS = {
    "py.upper": lambda data: {"text": data["text"].upper()},
    "py.reverse": lambda data: {"text": data["text"][::-1]},
}


def execute(assignment):
    """Does the work of one assignment and returns its outcome."""
    try:
        result = HANDLERS[assignment.capability](json.loads(assignment.task_data.data or b"{}"))
        payload = payload_pb2.Payload(data=json.dumps(result).encode())
        outcome = outcome_pb2.Outcome(completed=outcome_pb2.Completed(result=payload))
    except Exception as error:  # whatever a handler raises is the task's failure, not the agent's
        # Data of the wrong shape will not get better by trying again.
        retryable = not isinstance(error, (KeyError, TypeError, ValueError, AttributeError))
        failed = outcome_pb2.Failed(code=type(error).__name__, message=str(error), retryable=retryable)
        outcome = outcome_pb2.Outcome(failed=failed)
    return session_pb2.AttemptOutcome(task_id=assignment.task_id, attempt=assignment.attempt, outcome=outcome)


def hello():
    return session_pb2.Hello(
        agent_id=AGENT_ID,
        name="python-example",
        version="1.0.0",
        slots=SLOTS,
        sdk=f"python/{platform.python_version()}",
        capabilities=[capability_pb2.Capability(name=name) for name in HANDLERS],
    )


def run_session(registry, workers):
    """Holds one stream, until it ends."""
    outgoing = queue.SimpleQueue()  # frames to send; None ends the stream
    received = 0  # the `seq` of the last frame received
    over = threading.Event()

    def frames():
        while (frame := outgoing.get()) is not None:
            frame.ack = received
            yield frame

    def beat(interval):
        while not over.wait(interval):
            outgoing.put(session_pb2.ConnectRequest(heartbeat=session_pb2.Heartbeat()))

    def work(assignment):
        outgoing.put(session_pb2.ConnectRequest(outcomes=[execute(assignment)]))

    outgoing.put(session_pb2.ConnectRequest(hello=hello()))
    with grpc.insecure_channel(registry, [("grpc.keepalive_time_ms", 10_000)]) as channel:
        try:
            for frame in registry_service_pb2_grpc.RegistryServiceStub(channel).Connect(frames()):
                received = frame.seq
                if frame.HasField("welcome"):
                    print(f"connected to {registry} as {AGENT_ID}", flush=True)
                    interval = frame.welcome.heartbeat_interval.ToTimedelta().total_seconds()
                    threading.Thread(target=beat, args=[interval], daemon=True).start()
                for assignment in frame.assignments:
                    workers.submit(work, assignment)
        finally:
            over.set()
            outgoing.put(None)


def is_final(error):
    """A hello that is wrong stays wrong; and where a newer process uses our id, coming back would fence that one."""
    details = (value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin")
    return error.code() is grpc.StatusCode.INVALID_ARGUMENT or any(b"SESSION_FENCED" in value for value in details)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ThreadPoolExecutor(SLOTS) as workers:
        while True:
            try:
                run_session(random.choice(REGISTRY), workers)
            except grpc.RpcError as error:
                print(f"stream ended: {error.code().name} {error.details()}", flush=True)
                if is_final(error):
                    sys.exit(1)
            time.sleep(random.uniform(0.05, 1))  # jitter, so that not all agents come back at once


if __name__ == "__main__":
    main()
