"""Agents and clients for the Legion mesh."""

from ._options import Capability
from ._spec import RetryPolicy, TaskOptions
from .agent import AgentStatus, LegionAgent
from .context import TaskContext
from .core import LegionCore
from .decorated import Agent
from .errors import (
    AgentError,
    AttemptCanceled,
    FieldViolation,
    LegionError,
    RateLimitedError,
    TaskCanceledError,
    TaskError,
    TaskFailedError,
    WaitTimeoutError,
)
from .limits import TokenBucketLimiter, rate_limit
from .mesh import MeshHealth, MeshMetrics

__all__ = [
    "Agent",
    "AgentError",
    "AgentStatus",
    "AttemptCanceled",
    "Capability",
    "FieldViolation",
    "LegionAgent",
    "LegionCore",
    "LegionError",
    "MeshHealth",
    "MeshMetrics",
    "RateLimitedError",
    "RetryPolicy",
    "TaskCanceledError",
    "TaskContext",
    "TaskError",
    "TaskFailedError",
    "TaskOptions",
    "TokenBucketLimiter",
    "WaitTimeoutError",
    "rate_limit",
]
