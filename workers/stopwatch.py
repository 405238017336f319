"""How long a trial has trained: its share of the time, where several train as one program."""

from collections.abc import Callable


class Stopwatch:
    """Counts seconds at a rate: 1 for a trial alone, 1/K for one of K members of a pack."""

    def __init__(self, timer: Callable[[], float]) -> None:
        """Stand still at 0; `timer` gives seconds that never jump."""
        self._timer = timer
        self._rate = 0.0
        self._counted = 0.0
        self._since = timer()

    def run(self, rate: float) -> None:
        """Count at another rate from now on; 0 stands still."""
        now = self._timer()
        self._counted += self._rate * (now - self._since)
        self._since, self._rate = now, rate

    def seconds(self) -> float:
        """Give what was counted so far."""
        return self._counted + self._rate * (self._timer() - self._since)
