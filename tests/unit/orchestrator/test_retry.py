import pytest

from experiments.records import Failure
from experiments.states import FailureKind, TrialState
from orchestrator.retry import LOSS_BUDGET, GiveUp, Retry, decide


def a_failure(kind: FailureKind) -> Failure:
    return Failure(kind, "SomeError", "what happened")


def decided(
    kind: FailureKind, *, failures: int = 0, losses: int = 0, retries: int = 2
) -> Retry | GiveUp:
    return decide(
        a_failure(kind), failures=failures, losses=losses, retries=retries, jitter=lambda: 1.0
    )


@pytest.mark.parametrize("kind", [FailureKind.ERROR, FailureKind.OUT_OF_MEMORY])
@pytest.mark.parametrize(
    ("failures", "retries", "expected"),
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
    kind: FailureKind, failures: int, retries: int, expected: Retry | GiveUp
) -> None:
    assert decided(kind, failures=failures, retries=retries) == expected


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.TIMEOUT, "a further attempt would take as long again"),
        (FailureKind.NOT_FINITE, "a further attempt would compute the same numbers"),
        (FailureKind.DATA, "the data would be the same again"),
    ],
)
def test_failure_that_would_come_again_is_final(kind: FailureKind, reason: str) -> None:
    assert decided(kind, failures=1, retries=100) == GiveUp(TrialState.FAILED, reason)


@pytest.mark.parametrize("losses", range(1, LOSS_BUDGET + 1))
def test_lost_trial_is_tried_again_at_once_whatever_retries_says(losses: int) -> None:
    assert decided(FailureKind.LOST, failures=50, losses=losses, retries=0) == Retry(0.0)


def test_trial_that_loses_its_worker_again_and_again_is_quarantined() -> None:
    decision = decided(FailureKind.LOST, losses=LOSS_BUDGET + 1, retries=100)

    assert decision == GiveUp(TrialState.QUARANTINED, "its worker was lost 4 times")


def test_losses_do_not_use_up_retries() -> None:
    assert decided(FailureKind.ERROR, failures=1, losses=50, retries=1) == Retry(1.0)


def test_every_kind_of_failure_has_a_rule() -> None:
    for kind in FailureKind:
        assert isinstance(decided(kind, failures=1, losses=1), Retry | GiveUp)


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 4.0), (0.5, 6.0), (1.0, 8.0)])
def test_jitter_spreads_retries_over_the_second_half_of_the_delay(
    jitter: float, expected: float
) -> None:
    failure = a_failure(FailureKind.ERROR)

    decision = decide(failure, failures=4, losses=0, retries=9, jitter=lambda: jitter)

    assert decision == Retry(expected)
