import random

import pytest

from legion._attempt import Attempt, context_of
from legion._messages import completed, failed
from legion._outbox import Outbox
from legion._progress import ProgressQueue
from legion._proto.payload_pb2 import Payload
from legion._proto.session_pb2 import Assignment, AttemptProgress
from legion.errors import AttemptCanceled


def answered(task_id: str, result: bytes = b"{}") -> Attempt:
    assignment = Assignment(task_id=task_id, attempt=1)
    attempt = Attempt(assignment, context_of(assignment))
    attempt.answer(completed(result))
    return attempt


@pytest.mark.parametrize("seed", range(30))
def test_every_outcome_is_sent_until_it_is_acknowledged(seed: int) -> None:
    """Against a mesh that records what arrives, acknowledges late, and loses streams with all that is on its way."""
    chance = random.Random(seed)
    outbox, made, lost, forgotten = Outbox(), set[str](), set[str](), set[str]()
    recorded: dict[str, int] = {}
    seq, on_stream = 0, list[tuple[int, list[str]]]()
    for step in range(300):
        match chance.choice(["answer", "answer", "send", "ack", "break"] if step < 250 else ["send", "ack"]):
            case "answer":
                outbox.add(answered(f"t{step}"))
                made.add(f"t{step}")
            case "send":
                seq += 1
                ids = [outcome.task_id for outcome in outbox.take(seq)]
                on_stream.append((seq, ids))
            case "ack" if on_stream:
                count = chance.randint(1, len(on_stream))
                for _, ids in on_stream[:count]:
                    for task_id in ids:
                        recorded[task_id] = recorded.get(task_id, 0) + 1
                done = [attempt.key[0] for attempt in outbox.acknowledge(on_stream[count - 1][0])]
                assert done == [task_id for _, ids in on_stream[:count] for task_id in ids]
                forgotten.update(done)
                del on_stream[:count]
            case "break":
                for attempt in [each for _, sent in outbox._sent for each in sent]:
                    if chance.random() < 0.2:
                        attempt.lose(AttemptCanceled("LEASE_LOST"))
                        lost.add(attempt.key[0])
                outbox.rewind()
                seq, on_stream = 0, []
    outbox.acknowledge(seq)
    outcomes = outbox.take(seq + 1)
    remaining = {task_id for _, ids in on_stream for task_id in ids} | {outcome.task_id for outcome in outcomes}
    assert made == forgotten | lost | remaining
    assert all(count == 1 for count in recorded.values())


def test_a_frame_holds_about_a_mebibyte_and_at_least_one() -> None:
    outbox = Outbox()
    for n in range(4):
        outbox.add(answered(f"t{n}", b"x" * 700_000))
    outbox.add(answered("large", b"x" * 3_000_000))
    assert [len(outbox.take(seq)) for seq in range(1, 5)] == [2, 2, 1, 0]


def test_a_frame_holds_at_most_1000() -> None:
    outbox = Outbox()
    for n in range(2_500):
        outbox.add(answered(f"t{n}"))
    assert [len(outbox.take(seq)) for seq in range(1, 5)] == [1_000, 1_000, 500, 0]


def test_of_progress_the_latest_is_kept_and_all_output() -> None:
    queue = ProgressQueue()
    for n in range(5):
        queue.add(AttemptProgress(task_id="a", attempt=1, fraction=n / 10))
    queue.add(AttemptProgress(task_id="a", attempt=1, fraction=0.5, output=Payload(data=b"1")))
    queue.add(AttemptProgress(task_id="a", attempt=1, fraction=0.6, output=Payload(data=b"2")))
    queue.add(AttemptProgress(task_id="b", attempt=1, fraction=0.1))
    taken = [(each.task_id, each.fraction, each.output.data) for each in queue.take()]
    assert taken == [("a", 0.5, b"1"), ("a", 0.6, b"2"), ("b", 0.1, b"")]
    assert queue.take() == []


def test_what_cannot_be_described_or_sent_is_still_a_failure() -> None:
    class NamelessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    outcome = failed(NamelessError(), 100)
    assert (outcome.failed.code, outcome.failed.retryable) == ("NamelessError", True)
    half = failed(ValueError("half \ud800 of a pair" + "ü" * 20_000), 100).failed.message
    assert half.startswith("half ? of a pair")
    assert len(half.encode()) <= 16 * 1024
