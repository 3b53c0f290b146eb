"""How much memory this process has."""

import os
import time


class MemoryGauge:
    """Reads the resident memory of the process; at most every 50 ms, for a reading costs a system call or three."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._read_at = float("-inf")
        self._bytes = 0

    def resident_bytes(self) -> int:
        """Returns bytes; 0 where the system does not say (anywhere but on Linux)."""
        now = time.monotonic()
        if now - self._read_at >= 0.05:
            self._read_at = now
            try:
                with open("/proc/self/statm", "rb") as file:
                    self._bytes = int(file.read().split()[1]) * self._page
            except OSError:
                self._bytes = 0
        return self._bytes
