"""How fast a worker gets on with trials of a kind, from what was heard of it.

Plain objects and no clock: whoever asks says what time it is, in seconds that only rise.
"""

Kind = tuple[str, str | None]
"""The experiment and the pack shape of trials that take about as long as each other."""


class Pace:
    """Seconds a trial takes, in whatever company: of a pack of K trials a K-th of its time."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[Kind, float] = {}
        self._kind: Kind | None = None
        self._since = self._counted_at = 0.0
        self._num_done = 0.0

    def turn_to(self, kind: Kind, *, now: float) -> None:
        """Note that trials of a kind are trained from now on; of the same kind still are."""
        if kind != self._kind:
            self._kind = kind
            self.restart(now=now)

    def rest(self) -> None:
        """Note that nothing is trained from now on."""
        self._kind = None

    def restart(self, *, now: float) -> None:
        """Measure anew: until now it was not trials that took the time."""
        self._since = self._counted_at = now
        self._num_done = 0.0

    def count(self, num: float, *, now: float) -> None:
        """Note that so many trials more are done; 0.5 for half the training of one."""
        self._num_done += num
        self._counted_at = now
        if self._kind is not None and self._num_done > 0 and now > self._since:
            self._known[self._kind] = (now - self._since) / self._num_done

    def seconds(self, kind: Kind) -> float | None:
        """Give what a trial of a kind takes; None while that is not known."""
        return self._known.get(kind)

    def unheard_seconds(self, now: float) -> float:
        """Give how long it has trained since the last that was counted."""
        return now - self._counted_at
