"""The agent in Python of a trace over several languages."""

import os
import signal
import sys
import threading
from pathlib import Path

from legion import Agent, LegionCore, TaskContext, TaskError
from opentelemetry import trace

sys.path.append(str(Path(__file__).parent.parent / "agents/python"))

import telemetry

draining = threading.Event()


class Reporter(Agent):
    def on_draining(self, reason: str) -> None:
        draining.set()


def report(data: dict, context: TaskContext) -> dict:
    """Reads, and has another agent do the rest."""
    with trace.get_tracer("reporter").start_as_current_span("read the sources"):
        rows = list(range(data["rows"]))
    with LegionCore() as core:
        return core.dispatch_task(f"{context.task_id}-echo", {"rows": len(rows)}, "echo", timeout=60)


def sleep(data: dict, context: TaskContext) -> dict:
    """Gives up: this machine goes down. Nothing comes here again, for it drains."""
    context.sleep(data["ms"] / 1_000)
    os.kill(os.getpid(), signal.SIGTERM)
    draining.wait()
    raise TaskError("GoingDown", "this machine goes down", retryable=True)


if __name__ == "__main__":
    telemetry.send_spans("reporter")
    agent = Reporter("reporter", version="1.0.0", agent_id="reporter", slots=4)
    agent.capability()(report)
    agent.capability()(sleep)
    agent.run(stop_timeout=60)
