import asyncio
import math
import random

import pytest

from legion import RateLimitedError, TokenBucketLimiter, rate_limit


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.mark.parametrize("seed", range(20))
def test_never_more_than_burst_and_rate(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    rate, burst = chance.choice([0.1, 1, 3, 7.5, 1000]), chance.randint(1, 9)
    limiter = TokenBucketLimiter(rate, burst, clock=clock)
    taken: list[tuple[int, int]] = []
    for _ in range(400):
        clock.now += chance.choice([0, 1, int(chance.expovariate(rate) * 1e9)])
        cost = chance.randint(1, burst)
        if limiter.allow("k", cost):
            taken.append((clock.now, cost))
    assert taken
    for first in range(len(taken)):
        total = 0
        for at, cost in taken[first:]:
            total += cost
            assert total <= burst + rate * (at - taken[first][0]) / 1e9 + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_wait_time_is_exact(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    limiter = TokenBucketLimiter(chance.uniform(0.5, 100), chance.randint(1, 5), clock=clock)
    for _ in range(100):
        wait = round(limiter.wait_time() * 1e9)
        if wait > 0:
            clock.now += wait - 1
            assert not limiter.allow()
            clock.now += 1
        assert limiter.allow()


def test_keys_are_counted_apart_and_forgotten() -> None:
    clock = Clock()
    limiter = TokenBucketLimiter(1, 1, clock=clock)
    assert limiter.allow("a")
    assert not limiter.allow("a")
    assert limiter.allow("b")
    for n in range(5_000):
        clock.now += 10**9
        assert limiter.allow(n)
    assert len(limiter._full_at) <= 1_001


def test_more_than_the_bucket_holds_is_never_allowed() -> None:
    limiter = TokenBucketLimiter(10, 2)
    assert not limiter.allow(cost=3)
    assert limiter.wait_time(cost=3) == math.inf


@pytest.mark.parametrize("numbers", [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, 1.5)])
def test_numbers_that_make_no_limit(numbers: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TokenBucketLimiter(*numbers)


def test_rate_limit_refuses_or_waits() -> None:
    calls: list[str] = []

    @rate_limit(calls=2, period=3_600, key=lambda user: user, max_wait=0)
    def call(user: str) -> None:
        calls.append(user)

    for user in ["ada", "ada", "bob"]:
        call(user)
    with pytest.raises(RateLimitedError) as refused:
        call("ada")
    assert 0 < refused.value.retry_after <= 1_800
    assert calls == ["ada", "ada", "bob"]


async def test_rate_limit_of_a_coroutine_waits_its_turn() -> None:
    @rate_limit(calls=1, period=0.05)
    async def call(n: int) -> int:
        """Says a number."""
        return n

    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await asyncio.gather(*(call(n) for n in range(3))) == [0, 1, 2]
    assert loop.time() - begin > 0.09
    assert call.__doc__ == "Says a number."
