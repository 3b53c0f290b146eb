"""How the mesh is."""

from typing import TypedDict

from ._proto.dispatcher_service_pb2 import GetHealthResponse, GetMetricsResponse


class MeshMetrics(TypedDict):
    """Counters since the mesh was first started, which survive restarts, and gauges."""

    total_agents: int
    """Agents ever seen."""
    active_agents: int
    """Agents that have a session."""
    tasks_dispatched: int
    """Attempts given to agents."""
    tasks_completed: int
    tasks_failed: int
    """Ended `FAILED` or `DEAD`."""
    tasks_submitted: int
    tasks_canceled: int
    tasks_dead: int
    """Of `tasks_failed`, those out of attempts."""
    tasks_queued: int
    """Waiting for an agent now."""
    tasks_scheduled: int
    """Waiting for their time now."""
    tasks_leased: int
    """Held by agents now."""
    tasks_parked: int
    """Of `tasks_queued`, those that a limit holds back."""


class MeshHealth(TypedDict):
    """How the mesh is."""

    status: str
    """`healthy`, `degraded` or `unhealthy`."""
    agents: int
    """Agents that have a session."""
    database: str
    """`connected` or `disconnected`."""
    uptime: float
    """Seconds since the Dispatcher that answered was started."""
    services: list[dict[str, str]]
    """Of each service its `name`, `status` and `message`."""


def metrics_of(got: GetMetricsResponse) -> MeshMetrics:
    """Returns them as a dict."""
    return {
        "total_agents": got.total_agents,
        "active_agents": got.active_agents,
        "tasks_dispatched": got.tasks_dispatched,
        "tasks_completed": got.tasks_completed,
        "tasks_failed": got.tasks_failed,
        "tasks_submitted": got.tasks_submitted,
        "tasks_canceled": got.tasks_canceled,
        "tasks_dead": got.tasks_dead,
        "tasks_queued": got.tasks_queued,
        "tasks_scheduled": got.tasks_scheduled,
        "tasks_leased": got.tasks_leased,
        "tasks_parked": got.tasks_parked,
    }


def health_of(got: GetHealthResponse) -> MeshHealth:
    """Returns it as a dict."""
    services = [{"name": each.name, "status": each.status, "message": each.message} for each in got.services]
    return {
        "status": got.status,
        "agents": got.agents,
        "database": got.database,
        "uptime": got.uptime,
        "services": services,
    }
