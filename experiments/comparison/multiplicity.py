"""What several tests at once may claim."""

from collections.abc import Sequence


def holm(p_values: Sequence[float], *, num_tests: int | None = None) -> list[float]:
    """Adjust p-values so that at most 5 % of families with no effect show one below 0.05.

    Holm (1979): the smallest of m is multiplied by m, the next by m - 1, and so on; none
    becomes smaller than one before it, none larger than 1. It asks nothing of how the tests
    depend on each other. The order of the result is that of `p_values`. They may be some of
    `num_tests`: the others count as if they had shown nothing, which is the strictest.
    """
    num_tests = num_tests or len(p_values)
    adjusted = [1.0] * len(p_values)
    floor = 0.0
    by_size = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(by_size):
        floor = max(floor, (num_tests - rank) * p_values[index])
        adjusted[index] = min(1.0, floor)
    return adjusted
