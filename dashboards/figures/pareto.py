"""The Pareto front: what nothing else beats at less cost."""

from collections.abc import Sequence


def pareto_front(
    costs: Sequence[float], gains: Sequence[float], *, cheap_is_low: bool = True
) -> list[int]:
    """Choose the points that no other beats: none is as cheap and better, nor cheaper and as good.

    More gain is better; `cheap_is_low` says which way a cost is. Returned by rising cost (falling
    where a high one is cheap). Of equal points, the first is chosen; NaN never is.
    """
    sign = 1.0 if cheap_is_low else -1.0
    known = [
        i
        for i, pair in enumerate(zip(costs, gains, strict=True))
        if not any(number != number for number in pair)
    ]
    front: list[int] = []
    best = float("-inf")
    for i in sorted(known, key=lambda i: (sign * costs[i], -gains[i])):
        if gains[i] > best:
            front.append(i)
            best = gains[i]
    return front
