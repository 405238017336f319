"""The packs that wait in a worker until it has trained those that came before."""

from collections import deque
from collections.abc import Collection, Sequence
from threading import Condition

from experiments.records import Assignment


class Line:
    """Packs in the order of their coming; any thread may add, take, or look."""

    def __init__(self) -> None:
        """Begin empty."""
        self._changed = Condition()
        self._packs: deque[list[Assignment]] = deque()

    def add(self, pack: Sequence[Assignment]) -> None:
        """Put a pack at the end."""
        with self._changed:
            self._packs.append([*pack])
            self._changed.notify()

    def take(self) -> list[Assignment]:
        """Wait for the first pack and give what is left of it, which may be nothing."""
        with self._changed:
            self._changed.wait_for(lambda: self._packs)
            return self._packs.popleft()

    def leave(self, trial_ids: Collection[str]) -> list[str]:
        """Take these trials out, wherever they wait; name those that were there."""
        with self._changed:
            waiting = [each.trial_id for pack in self._packs for each in pack]
            self._packs = deque(
                [each for each in pack if each.trial_id not in trial_ids] for pack in self._packs
            )
            return [each for each in waiting if each in trial_ids]
