import argparse
import json
import sys

from legion import LegionCore, LegionError, TaskCanceledError, TaskFailedError, WaitTimeoutError

import telemetry


def main() -> None:
    telemetry.send_spans("python-client")
    parser = argparse.ArgumentParser(description="Runs one task and prints its result.")
    parser.add_argument("capability")
    parser.add_argument("data", type=json.loads, help="a JSON object")
    parser.add_argument("--timeout-ms", type=int, default=60_000)
    parser.add_argument("--task-id")
    given = parser.parse_args()
    # LEGION_DISPATCHER says where the mesh is. Where nobody answers, it tries again until the time is up.
    with LegionCore() as core:
        try:
            timeout = given.timeout_ms / 1_000
            print(json.dumps(core.dispatch_task(given.task_id, given.data, given.capability, timeout=timeout)))
        except TaskFailedError as error:
            leave(1, f"{error.code}: {error}")
        except TaskCanceledError as error:
            leave(1, f"CANCELED: {error}")
        except WaitTimeoutError as error:
            # Its cause says whether the mesh was away until the end, or the task only took too long.
            leave(4 if error.__cause__ is None else 3, str(error))
        except LegionError as error:
            leave(3 if error.code == "UNAVAILABLE" else 2, f"{error.reason or error.code}: {error}")


def leave(code: int, message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
