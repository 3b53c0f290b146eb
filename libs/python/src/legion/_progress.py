"""Progress that waits for the next frame."""

from ._proto.session_pb2 import AttemptProgress

# One frame's worth. Progress is news: what the mesh does not take in time is old, and is dropped.
_MAX_ITEMS = 1_000
_MAX_BYTES = 1024 * 1024


class ProgressQueue:
    """Of an attempt only the latest is kept, but for its partial output."""

    def __init__(self) -> None:
        self._items: list[AttemptProgress] = []
        self._latest: dict[tuple[str, int], AttemptProgress] = {}
        self._bytes = 0

    def add(self, progress: AttemptProgress) -> None:
        """Takes a piece of news."""
        size = len(progress.output.data)
        if self._bytes + size > _MAX_BYTES:
            progress.ClearField("output")
        else:
            self._bytes += size
        key = progress.task_id, progress.attempt
        latest = self._latest.get(key)
        if latest is not None and not latest.HasField("output"):
            latest.CopyFrom(progress)
        elif len(self._items) < _MAX_ITEMS:
            self._items.append(progress)
            self._latest[key] = progress

    def take(self) -> list[AttemptProgress]:
        """Returns at most 1,000 and forgets them."""
        items, self._items = self._items, []
        self._latest.clear()
        self._bytes = 0
        return items
