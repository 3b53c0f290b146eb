import asyncio
import time

from legion import TaskContext, TaskError


def echo(data):
    return data


async def sleep(data, context: TaskContext):
    """Is canceled as any coroutine is."""
    ms, steps = data["ms"], data.get("steps", 1)
    for step in range(1, steps + 1):
        await asyncio.sleep(ms / 1_000 / steps)
        if "steps" in data:
            context.progress(step / steps, f"step {step} of {steps}")
    return {"slept": ms}


def fail(data):
    raise TaskError(data.get("code", "Failed"), data["message"], data["retryable"])


def crash(data):
    raise LookupError(data["message"])


def burn(data, context: TaskContext):
    """In a thread, so the event loop goes on."""
    end = time.monotonic() + data["ms"] / 1_000
    while time.monotonic() < end:
        context.check()
    return {"burned": data["ms"]}


def fill(data):
    return {"fill": "x" * data["bytes"]}


HANDLERS = {"echo": echo, "sleep": sleep, "fail": fail, "crash": crash, "burn": burn, "fill": fill}
