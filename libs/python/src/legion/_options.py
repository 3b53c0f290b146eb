"""What an agent says about itself."""

import json
import os
import platform
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypedDict

from ._proto.capability_pb2 import Capability as CapabilityMessage
from ._proto.label_pb2 import Label


class CommonOptions(TypedDict, total=False):
    """See `LegionAgent`."""

    version: str
    namespace: str
    labels: Mapping[str, str]
    slots: int
    registry: str | None
    cancel_grace: float


class AgentOptions(CommonOptions, total=False):
    """See `LegionAgent`, whose `name` is given by itself."""

    agent_id: str | None


class RegisterOptions(CommonOptions, total=False):
    """See `LegionAgent`, whose `agent_id` and `capabilities` are given by themselves."""

    name: str


@dataclass(frozen=True)
class Capability:
    """Something that an agent can do.

    Attributes:
        name: 1 to 128 characters: letters, digits, `.`, `_`, `-`, `/`, beginning with a letter or digit.
        slots: How many tasks of it the agent takes at once, within its own slots. 0: as many as those.
        input_schema: A JSON Schema (2020-12 or draft-07) that a task's data must match; the mesh checks it. At most
            64 KiB as JSON. None: any object.
    """

    name: str
    slots: int = 0
    input_schema: Mapping[str, Any] | None = None

    def message(self) -> CapabilityMessage:
        """Returns it as the contract has it."""
        schema = "" if self.input_schema is None else json.dumps(self.input_schema)
        return CapabilityMessage(name=self.name, slots=self.slots, input_schema=schema)


def capabilities_of(given: Iterable[str | Capability]) -> list[Capability]:
    """Returns declarations, also of those that were only named."""
    return [Capability(each) if isinstance(each, str) else each for each in given]


def labels_of(given: Mapping[str, str]) -> list[Label]:
    """Returns labels as the contract has them."""
    return [Label(key=key, value=value) for key, value in given.items()]


def default_agent_id(name: str) -> str:
    """Returns an id that tells processes apart, and people which machine it runs on."""
    return f"{name[:64]}-{socket.gethostname()[:48]}-{os.getpid()}-{secrets.token_hex(3)}"


def sdk() -> str:
    """Returns the language and the version of this package, for people."""
    try:
        version = metadata.version("legion-mesh")
    except metadata.PackageNotFoundError:  # run from its sources
        version = "0"
    return f"python/{platform.python_version()} legion-mesh/{version}"
