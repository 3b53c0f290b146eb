import json
import logging
import os
import sys

from legion import Agent, AgentError, TaskContext

import handlers
import telemetry


class Telling(Agent):
    """Says on standard output what happens, one JSON object a line."""

    def on_connected(self, session_id: str, resumed: bool) -> None:
        tell(event="connected", session_id=session_id, resumed=resumed)

    def on_draining(self, reason: str) -> None:
        tell(event="draining")

    def on_begin(self, context: TaskContext) -> None:
        tell(event="begin", task_id=context.task_id, attempt=context.attempt, capability=context.capability)

    def on_end(self, context: TaskContext, error: BaseException | None) -> None:
        how = "canceled" if context.canceled.is_set() else "completed" if error is None else "failed"
        tell(event="end", task_id=context.task_id, attempt=context.attempt, how=how)


def tell(**event: object) -> None:
    # In one write: handlers are in several threads.
    os.write(sys.stdout.fileno(), json.dumps(event).encode() + b"\n")


def main() -> None:
    logging.basicConfig(level=logging.DEBUG if os.environ.get("LOG") == "debug" else logging.INFO)
    telemetry.send_spans("python-example")
    # LEGION_REGISTRY says where the mesh is: the SDK reads it by itself.
    agent = Telling(
        "python-example",
        version="1.0.0",
        agent_id=os.environ.get("AGENT_ID"),
        slots=4,
        labels={"language": "python"},
    )
    for name in os.environ.get("CAPABILITIES", ",".join(handlers.HANDLERS)).split(","):
        agent.capability(name)(handlers.HANDLERS[name])
    try:
        agent.run(stop_timeout=60)
    except AgentError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
