"""Rate limits within this process."""

import asyncio
import functools
import inspect
import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar, cast

from .errors import RateLimitedError

P = ParamSpec("P")
R = TypeVar("R")

# Keys whose bucket is full again are looked for when there are this many more.
_SWEEP_EVERY = 1_000


class TokenBucketLimiter:
    """In every t seconds at most burst + rate · t for each key, whoever asks.

    A token bucket kept as GCRA (ITU-T I.371): one number a key, in whole nanoseconds. For any thread.
    """

    def __init__(self, rate: float, burst: int | None = None, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Makes one with full buckets.

        Args:
            rate: How many come back each second, evenly; more than 0.
            burst: How many can be taken at once after a rest: a whole number of at least 1. By default what comes back
                in a second, and at least 1.
            clock: Nanoseconds that never go back.

        Raises:
            ValueError: With these numbers there is no limit.
        """
        if not (0 < rate < math.inf):
            raise ValueError(f"rate must be a number above 0; it is {rate}.")
        if burst is None:
            burst = max(1, int(rate))
        if burst < 1 or burst != int(burst):
            raise ValueError(f"burst must be a whole number of at least 1; it is {burst}.")
        self._burst = int(burst)
        # Rounded up: never more than the rate.
        self._interval = math.ceil(1e9 / rate)
        self._clock = clock
        self._lock = threading.Lock()
        # When each key's bucket is full again.
        self._full_at: dict[Hashable, int] = {}
        self._sweep_at = _SWEEP_EVERY

    def allow(self, key: Hashable = "", cost: int = 1) -> bool:
        """Takes the cost if it can be had now, and says whether it did."""
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.get(key, now)) + self._checked(cost) * self._interval
            if full_at - now > self._burst * self._interval:
                return False
            self._full_at[key] = full_at
            if len(self._full_at) >= self._sweep_at:
                self._sweep(now)
            return True

    def wait_time(self, key: Hashable = "", cost: int = 1) -> float:
        """Returns how long until `allow` succeeds if nobody else takes anything, in seconds.

        0.0 for now; infinity for never, because the bucket never holds so much.
        """
        with self._lock:
            if self._checked(cost) > self._burst:
                return math.inf
            now = self._clock()
            full_at = max(now, self._full_at.get(key, now)) + cost * self._interval
            return max(0, full_at - now - self._burst * self._interval) / 1e9

    def _checked(self, cost: int) -> int:
        if cost < 1 or cost != int(cost):
            raise ValueError(f"cost must be a whole number of at least 1; it is {cost}.")
        return int(cost)

    def _sweep(self, now: int) -> None:
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        self._sweep_at = len(self._full_at) + _SWEEP_EVERY


def rate_limit(
    calls: int = 100,
    period: float = 60.0,
    *,
    burst: int | None = None,
    key: Callable[..., Hashable] | None = None,
    max_wait: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function, plain or `async`, wait for its turn.

    The limit is of this process alone; those of the mesh are set at its RateLimit service.

    Args:
        calls: How many come back each period, evenly.
        period: In seconds.
        burst: How many may be made at once after a rest. By default `calls`.
        key: Counts apart for what it returns for a call's arguments, such as the user. By default all together.
        max_wait: A call waits at most this long, in seconds; 0 refuses at once. None: as long as it takes.

    Raises:
        RateLimitedError: By the function it makes: the turn does not come within `max_wait`.
        ValueError: With these numbers there is no limit.
    """
    if calls < 1 or calls != int(calls):
        raise ValueError(f"calls must be a whole number of at least 1; it is {calls}.")
    if not (0 < period < math.inf):
        raise ValueError(f"period must be a number of seconds above 0; it is {period}.")
    limiter = TokenBucketLimiter(calls / period, calls if burst is None else burst)
    what = f"{calls} calls in {period:g} s"

    def waits(name: Hashable) -> "_Turns":
        return _Turns(limiter, name, what, max_wait)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def limited_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                for delay in waits(key(*args, **kwargs) if key else ""):
                    await asyncio.sleep(delay)
                return await function(*args, **kwargs)

            return cast("Callable[P, R]", limited_async)

        @functools.wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            for delay in waits(key(*args, **kwargs) if key else ""):
                time.sleep(delay)
            return function(*args, **kwargs)

        return limited

    return decorate


class _Turns:
    """The sleeps until a call has its turn."""

    def __init__(self, limiter: TokenBucketLimiter, key: Hashable, what: str, max_wait: float | None) -> None:
        self._limiter = limiter
        self._key = key
        self._what = what
        self._until = math.inf if max_wait is None else time.monotonic() + max_wait

    def __iter__(self) -> "_Turns":
        return self

    def __next__(self) -> float:
        if self._limiter.allow(self._key):
            raise StopIteration
        delay = self._limiter.wait_time(self._key)
        if time.monotonic() + delay > self._until:
            raise RateLimitedError(f"No turn in time: {self._what}.", delay)
        return delay
