"""Whether a failed attempt is followed by another one: a pure decision, no store, no clock.

| failure       | tried again                                                    |
| ------------- | -------------------------------------------------------------- |
| error         | up to `retries` times, after 1, 2, 4, ... 60 s                  |
| out_of_memory | the same                                                       |
| lost          | at once, `LOSS_BUDGET` times; then the trial is quarantined     |
| timeout       | never: it would take as long again                             |
| not_finite    | never: the same numbers would be computed again                |
| data          | never: a file that is altered stays so                         |
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from experiments.records import Failure
from experiments.states import FailureKind, TrialState

LOSS_BUDGET: Final = 3
"""Further attempts after losing the worker; `retries` does not count these."""

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 60.0

_FINAL: Final = {
    FailureKind.TIMEOUT: "a further attempt would take as long again",
    FailureKind.NOT_FINITE: "a further attempt would compute the same numbers",
    FailureKind.DATA: "the data would be the same again",
}


@dataclass(frozen=True, slots=True)
class Retry:
    """Queue the trial again, to be claimed no sooner than after the delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the trial in `state`, for the reason given."""

    state: TrialState
    reason: str


def decide(
    failure: Failure,
    *,
    failures: int,
    losses: int,
    retries: int,
    jitter: Callable[[], float] = random.random,
) -> Retry | GiveUp:
    """Decide what follows a failure.

    `failures` counts the trial's own failures and `losses` its lost workers, this one
    included. `jitter` gives a number in [0, 1) that spreads retries over the second half
    of their delay, so that trials which failed together do not come back together.
    """
    if failure.kind is FailureKind.LOST:
        if losses <= LOSS_BUDGET:
            return Retry(0.0)
        return GiveUp(TrialState.QUARANTINED, f"its worker was lost {losses} times")
    if (reason := _FINAL.get(failure.kind)) is not None:
        return GiveUp(TrialState.FAILED, reason)
    if failures <= retries:
        doubled = FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16)
        return Retry(min(doubled, LONGEST_DELAY_SECONDS) * (0.5 + 0.5 * jitter()))
    return GiveUp(TrialState.FAILED, f"attempt {failures} of {retries + 1} failed")
