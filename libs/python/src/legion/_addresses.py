"""Where the mesh is."""

import os
from collections.abc import Mapping
from typing import Literal

_OFFSETS = {"registry": 1, "dispatcher": 2}


def addresses(
    service: Literal["registry", "dispatcher"],
    given: str | None,
    env: Mapping[str, str] = os.environ,
) -> list[str]:
    """Returns the service's addresses, `host:port` each.

    What is given counts more than LEGION_REGISTRY or LEGION_DISPATCHER in the environment, and that
    more than LEGION_PORT_BASE; by default it is port 7401 or 7402 of this machine.

    Raises:
        ValueError: An address is not `host:port`.
    """
    base = env.get("LEGION_PORT_BASE") or "7400"
    text = given or env.get(f"LEGION_{service.upper()}")
    if not text:
        if not base.isdecimal():
            raise ValueError(f"LEGION_PORT_BASE must be a number, but is {base!r}.")
        text = f"127.0.0.1:{int(base) + _OFFSETS[service]}"
    found = [part.strip() for part in text.split(",") if part.strip()]
    for address in found:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError(
                f"{address!r} is no address of a {service.capitalize()}: "
                f"expected host:port, such as 127.0.0.1:{7400 + _OFFSETS[service]}."
            )
    if not found:
        raise ValueError(f"No address of a {service.capitalize()} in {text!r}.")
    return found
