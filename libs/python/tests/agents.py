import asyncio
from typing import Any

from fake_registry import FakeRegistry

from legion import Agent


def agent_of(registry: FakeRegistry, **options: Any) -> Agent:
    agent = Agent("tried", agent_id="tried-1", registry=registry.address, **options)

    @agent.capability("echo")
    def echo(data: dict[str, Any]) -> dict[str, Any]:
        return data

    @agent.capability("rest")
    async def rest(data: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(data["seconds"])
        return data

    return agent
