"""The packs that wait in a worker until it has trained those that came before."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import Condition

from experiments.planning.pack_shapes import pack_shape
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

    def take_alike(self, one: Assignment, num: int) -> list[Assignment]:
        """Give up to so many of those next in line that can be trained with one, at once.

        Nobody is passed over: none if the next is of another shape, or trained otherwise.
        """
        taken: list[Assignment] = []
        shape = pack_shape(one.config)
        with self._changed:
            for pack in self._packs:
                while pack and len(taken) < num:
                    if not _is_trained_like(pack[0], one) or pack_shape(pack[0].config) != shape:
                        return taken
                    taken.append(pack.pop(0))
        return taken

    def leave(self, trial_ids: Collection[str], *, on_leaving: Callable[[str], None]) -> None:
        """Take these trials out, wherever they wait, and say so of each that was there.

        Whoever waits for what is left of their packs gets it after that was said.
        """
        with self._changed:
            waiting = [each.trial_id for pack in self._packs for each in pack]
            self._packs = deque(
                [each for each in pack if each.trial_id not in trial_ids] for pack in self._packs
            )
            for trial_id in waiting:
                if trial_id in trial_ids:
                    on_leaving(trial_id)


def _is_trained_like(each: Assignment, one: Assignment) -> bool:
    """Say whether a trial runs as another does, and not before its worker has measured how."""
    return each.strategy == one.strategy and each.calibration is None
