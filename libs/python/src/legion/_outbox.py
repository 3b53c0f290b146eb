"""Outcomes from their making until the mesh has acknowledged them."""

from collections import deque

from ._attempt import Attempt
from ._proto.session_pb2 import AttemptOutcome

_MAX_OUTCOMES = 1_000
_MAX_BYTES = 1024 * 1024


class Outbox:
    """Keeps the order in which outcomes were made."""

    def __init__(self) -> None:
        self._unsent: deque[Attempt] = deque()
        # By the number of their frame on the present stream.
        self._sent: deque[tuple[int, list[Attempt]]] = deque()
        self._sent_count = 0

    def __len__(self) -> int:
        """How many are not acknowledged."""
        return len(self._unsent) + self._sent_count

    def add(self, attempt: Attempt) -> None:
        """Takes an attempt that was answered."""
        self._unsent.append(attempt)

    def take(self, seq: int) -> list[AttemptOutcome]:
        """Returns the outcomes for frame `seq`: at most 1,000 and about 1 MiB, at least one if there is one."""
        attempts: list[Attempt] = []
        outcomes: list[AttemptOutcome] = []
        size = 0
        while self._unsent and len(outcomes) < _MAX_OUTCOMES and size < _MAX_BYTES:
            attempt = self._unsent.popleft()
            assert attempt.outcome is not None
            attempts.append(attempt)
            outcomes.append(attempt.outcome)
            size += attempt.outcome.ByteSize()
        if attempts:
            self._sent.append((seq, attempts))
            self._sent_count += len(attempts)
        return outcomes

    def acknowledge(self, seq: int) -> list[Attempt]:
        """Forgets and returns the attempts of all frames up to `seq`: they are dealt with."""
        done: list[Attempt] = []
        while self._sent and self._sent[0][0] <= seq:
            done.extend(self._sent.popleft()[1])
        self._sent_count -= len(done)
        return done

    def remove(self, attempt: Attempt) -> None:
        """Forgets one, if it is there: nobody waits for its outcome any more."""
        for attempts in (self._unsent, *(sent for _, sent in self._sent)):
            if attempt in attempts:
                attempts.remove(attempt)
        self._sent_count = sum(len(sent) for _, sent in self._sent)

    def rewind(self) -> None:
        """A new stream begins: everything not acknowledged is to be sent again, but for what is lost."""
        unacknowledged = [attempt for _, attempts in self._sent for attempt in attempts]
        unacknowledged.extend(self._unsent)
        self._unsent = deque(attempt for attempt in unacknowledged if attempt.state == "answered")
        self._sent.clear()
        self._sent_count = 0
