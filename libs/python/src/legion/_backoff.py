"""How long to wait before the next try."""

import random
from collections.abc import Callable


def full_jitter(
    failures: int,
    *,
    initial: float = 0.05,
    maximum: float = 5.0,
    chance: Callable[[], float] = random.random,
) -> float:
    """Returns seconds: anything from 0 to a ceiling that doubles with each failure in a row.

    Full jitter spreads a thundering herd best at the same total wait.

    Args:
        failures: In a row, the last one included: from 1.
        initial: The first ceiling, in seconds.
        maximum: The highest ceiling, in seconds.
        chance: Gives numbers in [0, 1).
    """
    # 2**64 first tries are as good as for ever, and no float overflows.
    return min(maximum, initial * 2.0 ** min(max(failures, 1) - 1, 64)) * chance()
