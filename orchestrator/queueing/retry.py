"""Whether a failed attempt is followed by another one: a pure decision, no store, no clock.

| failure       | tried again                                                              |
| ------------- | ------------------------------------------------------------------------ |
| error         | `execution.retries` times, after 1, 2, 4, ... 60 s                        |
| lost          | `execution.max_losses` times in a row, at once, then after 1, 2, ... 60 s; |
|               | the next loss puts the trial in quarantine                               |
| out_of_memory | once, after 1 s                                                          |
| stalled       | once, after 1 s                                                          |
| timeout       | never: it would take as long again                                       |
| not_finite    | never: the same numbers would be computed again                          |
| data          | never: a file that is altered stays so                                   |

Each kind has a budget of its own. A loss by an attempt that brought the trial further (its
newest checkpoint on record is of a later epoch than all before) is the first in a row again.
Of each delay the second half is left to chance, so that trials which failed together do not
come back together.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from experiments.events import Failure
from experiments.records import Execution
from experiments.states import FailureKind, TrialState

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 60.0

_FINAL: Final = {
    FailureKind.TIMEOUT: "a further attempt would take as long again",
    FailureKind.NOT_FINITE: "a further attempt would compute the same numbers",
    FailureKind.DATA: "the data would be the same again",
}
_ONCE_MORE: Final = {
    FailureKind.OUT_OF_MEMORY: "it ran out of memory again",
    FailureKind.STALLED: "it made no progress again",
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


def charged(
    spent: Mapping[str, int], failure: Failure, *, got_further: bool
) -> dict[FailureKind, int]:
    """Add a failure to what a trial has spent, by kind.

    `got_further`: the attempt brought the trial further, so that a loss is the first again.
    """
    counts = {FailureKind(kind): count for kind, count in spent.items()}
    starts_again = failure.kind is FailureKind.LOST and got_further
    before = 0 if starts_again else counts.get(failure.kind, 0)
    return {**counts, failure.kind: before + 1}


def decide(
    failure: Failure,
    *,
    spent: Mapping[FailureKind, int],
    execution: Execution,
    jitter: Callable[[], float] = random.random,
) -> Retry | GiveUp:
    """Decide what follows a failure.

    `spent` counts the trial's failures by kind, this one included (see `charged`). `jitter`
    gives a number in [0, 1).
    """
    count = spent[failure.kind]
    if (reason := _FINAL.get(failure.kind)) is not None:
        return GiveUp(TrialState.FAILED, reason)
    if (reason := _ONCE_MORE.get(failure.kind)) is not None:
        return GiveUp(TrialState.FAILED, reason) if count > 1 else Retry(_delay(count, jitter))
    if failure.kind is FailureKind.LOST:
        if count > execution.max_losses:
            often = f" {count} times in a row" if count > 1 else ""
            return GiveUp(TrialState.QUARANTINED, f"its worker was lost{often}")
        return Retry(0.0 if count == 1 else _delay(count - 1, jitter))
    if count > execution.retries:
        return GiveUp(TrialState.FAILED, f"attempt {count} of {execution.retries + 1} failed")
    return Retry(_delay(count, jitter))


def must_go_alone(spent: Mapping[str, int], execution: Execution) -> bool:
    """Say whether a trial is to share its worker with no other.

    So it is where the next loss, stall or want of memory, which befall a whole pack, would end
    it: by then no other trial should be the one at fault, nor end by this one's.
    """
    if any(spent.get(kind, 0) for kind in _ONCE_MORE):
        return True
    return spent.get(FailureKind.LOST, 0) >= execution.max_losses


def _delay(count: int, jitter: Callable[[], float]) -> float:
    doubled = FIRST_DELAY_SECONDS * 2.0 ** min(count - 1, 16)
    return min(doubled, LONGEST_DELAY_SECONDS) * (0.5 + 0.5 * jitter())
