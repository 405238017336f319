from typing import Any

import pytest

from experiments.events import Failure
from experiments.records import Execution
from experiments.states import FailureKind, TrialState
from orchestrator.queueing.retry import GiveUp, Retry, charged, decide

ONCE_MORE = [FailureKind.OUT_OF_MEMORY, FailureKind.STALLED]
NEVER = {
    FailureKind.TIMEOUT: "a further attempt would take as long again",
    FailureKind.NOT_FINITE: "a further attempt would compute the same numbers",
    FailureKind.DATA: "the data would be the same again",
}


def a_failure(kind: FailureKind) -> Failure:
    return Failure(kind, "SomeError", "what happened")


def decided(
    kind: FailureKind, count: int = 1, *, spent: dict[FailureKind, int] | None = None, **limits: Any
) -> Retry | GiveUp:
    """Decide on the `count`-th failure of a kind; `spent` are those of others."""
    return decide(
        a_failure(kind),
        spent={**(spent or {}), kind: count},
        execution=Execution(**limits),
        jitter=lambda: 1.0,
    )


@pytest.mark.parametrize(
    ("count", "retries", "expected"),
    [
        (1, 2, Retry(1.0)),
        (2, 2, Retry(2.0)),
        (3, 2, GiveUp(TrialState.FAILED, "attempt 3 of 3 failed")),
        (1, 0, GiveUp(TrialState.FAILED, "attempt 1 of 1 failed")),
        (6, 100, Retry(32.0)),
        (7, 100, Retry(60.0)),
        (100, 100, Retry(60.0)),
    ],
)
def test_own_failure_is_tried_again_up_to_retries(
    count: int, retries: int, expected: Retry | GiveUp
) -> None:
    assert decided(FailureKind.ERROR, count, retries=retries) == expected


@pytest.mark.parametrize(("kind", "reason"), NEVER.items())
def test_failure_that_would_come_again_is_final(kind: FailureKind, reason: str) -> None:
    assert decided(kind, retries=100, max_losses=100) == GiveUp(TrialState.FAILED, reason)


@pytest.mark.parametrize("kind", ONCE_MORE)
@pytest.mark.parametrize("retries", [0, 100])
def test_want_of_memory_and_stalls_get_one_further_attempt_whatever_retries_says(
    kind: FailureKind, retries: int
) -> None:
    assert decided(kind, 1, retries=retries) == Retry(1.0)

    decision = decided(kind, 2, retries=retries)

    assert isinstance(decision, GiveUp)
    assert decision.state is TrialState.FAILED
    assert "again" in decision.reason


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, Retry(0.0)), (2, Retry(1.0)), (3, Retry(2.0)), (4, Retry(4.0)), (9, Retry(60.0))],
)
def test_lost_trial_is_tried_again_at_once_then_after_ever_longer_delays(
    count: int, expected: Retry
) -> None:
    assert decided(FailureKind.LOST, count, max_losses=9, retries=0) == expected


@pytest.mark.parametrize(
    ("max_losses", "reason"),
    [(3, "its worker was lost 4 times in a row"), (0, "its worker was lost")],
)
def test_trial_that_loses_its_worker_again_and_again_is_quarantined(
    max_losses: int, reason: str
) -> None:
    decision = decided(FailureKind.LOST, max_losses + 1, max_losses=max_losses, retries=100)

    assert decision == GiveUp(TrialState.QUARANTINED, reason)


@pytest.mark.parametrize("kind", [FailureKind.ERROR, FailureKind.LOST, *ONCE_MORE])
def test_each_kind_has_a_budget_of_its_own(kind: FailureKind) -> None:
    others = {other: 50 for other in FailureKind if other is not kind}

    assert isinstance(decided(kind, 1, spent=others), Retry)


def test_every_kind_of_failure_has_a_rule() -> None:
    for kind in FailureKind:
        assert isinstance(decided(kind), Retry | GiveUp)


def test_failure_is_charged_to_its_kind() -> None:
    spent = charged({"error": 2, "lost": 1}, a_failure(FailureKind.ERROR), got_further=False)

    assert spent == {FailureKind.ERROR: 3, FailureKind.LOST: 1}


def test_loss_of_an_attempt_that_got_further_is_the_first_again() -> None:
    lost = a_failure(FailureKind.LOST)

    assert charged({"lost": 3, "error": 1}, lost, got_further=True) == {"lost": 1, "error": 1}
    assert charged({"lost": 3}, lost, got_further=False) == {"lost": 4}


def test_own_failures_are_counted_however_far_the_trial_got() -> None:
    spent = charged({"error": 2, "lost": 2}, a_failure(FailureKind.ERROR), got_further=True)

    assert spent == {"error": 3, "lost": 2}


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 4.0), (0.5, 6.0), (1.0, 8.0)])
def test_jitter_spreads_retries_over_the_second_half_of_the_delay(
    jitter: float, expected: float
) -> None:
    decision = decide(
        a_failure(FailureKind.ERROR),
        spent={FailureKind.ERROR: 4},
        execution=Execution(retries=9),
        jitter=lambda: jitter,
    )

    assert decision == Retry(expected)
