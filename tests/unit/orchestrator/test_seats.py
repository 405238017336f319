"""What the scheduler knows of a worker, with times that a test names."""

from dataclasses import replace

import pytest

from experiments.events import Failure, StrategiesTimed, TrialBegun
from experiments.planning.strategies import Strategy
from experiments.records import CheckpointPolicy, Resources
from experiments.states import FailureKind
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.leases import Lease
from orchestrator.scheduling.seats import SILENT_SECONDS, START_SECONDS, Seat, suspects
from tests.samples import ERROR, ONE_CPU, a_config, points_of, saved


def a_claim(trial_id: str = "t1", *, stall_timeout_seconds: float | None = 60.0) -> Claim:
    return Claim(
        lease=Lease(trial_id, 1),
        experiment_id="exp1",
        number=1,
        variant="v1",
        config=a_config(),
        checkpoints=CheckpointPolicy(),
        timeout_seconds=None,
        resume_from=(),
        stall_timeout_seconds=stall_timeout_seconds,
        strategy=Strategy(16),
    )


def a_seat(*claims: Claim, now: float = 0.0) -> Seat:
    """A worker that is up and, where there are claims, at work on them."""
    seat = Seat(ONE_CPU, hired_at=now, heard_at=now, machine="box/1cpu")
    if claims:
        seat.begin(claims, now=now)
    return seat


def heard(seat: Seat, progress: int | None, *, now: float) -> None:
    seat.heard_at = now
    seat.beat(progress, now=now)


def test_a_worker_is_silent_after_ten_seconds_without_a_word() -> None:
    seat = a_seat(now=100.0)
    assert not seat.is_silent(100.0 + SILENT_SECONDS - 0.1)
    assert seat.is_silent(100.0 + SILENT_SECONDS)


def test_a_silent_worker_gets_no_pack_until_it_is_heard_of_again() -> None:
    seat = a_seat()
    assert seat.takes_packs(1.0)
    assert not seat.takes_packs(SILENT_SECONDS)
    heard(seat, None, now=SILENT_SECONDS)
    assert seat.takes_packs(SILENT_SECONDS)


def test_a_worker_that_beats_without_getting_on_has_stalled() -> None:
    seat = a_seat(a_claim())
    for second in range(0, 60, 2):
        heard(seat, 7, now=float(second))
        assert not seat.is_stalled(float(second))
    heard(seat, 7, now=60.0)
    assert seat.is_stalled(60.0)


def test_who_joined_from_another_pack_may_stall_it_too() -> None:
    seat = a_seat(a_claim("t1", stall_timeout_seconds=None))
    seat.begin([a_claim("t2")], now=0.0)
    for now in (0.0, 60.0):
        heard(seat, 7, now=now)
    assert not seat.is_stalled(60.0)
    seat.note_place(TrialBegun("t2", 0, 0))
    assert seat.is_stalled(60.0)


def test_a_pack_has_as_many_places_as_it_was_measured_to_need() -> None:
    claims = [replace(a_claim(f"t{number}"), strategy=Strategy(16)) for number in range(8)]
    seat = a_seat(*claims)
    seat.pace.seconds = lambda _: 100.0  # type: ignore[method-assign, assignment]
    for number in range(6):
        del seat.leases[f"t{number}"]
    assert seat.free_places(1.0, within_seconds=1.0) == 6
    times = {"plain": 1.0, "fused, 4 members": 0.5}
    seat.note_strategy(StrategiesTimed("t7", times, "fused, 4 members", 100, is_thorough=True))
    assert seat.free_places(1.0, within_seconds=1.0) == 2
    seat.note_strategy(StrategiesTimed("t7", times, "plain", 100, is_thorough=True))
    assert seat.free_places(1.0, within_seconds=1.0) == 0


def test_progress_puts_the_stall_off() -> None:
    seat = a_seat(a_claim())
    for second in range(0, 600, 30):
        heard(seat, second, now=float(second))
        assert not seat.is_stalled(float(second))


def test_preparing_data_is_no_stall_and_the_time_counts_from_its_end() -> None:
    seat = a_seat(a_claim())
    for second in range(0, 600, 5):
        heard(seat, None, now=float(second))
        assert not seat.is_stalled(float(second))
    heard(seat, 0, now=600.0)
    heard(seat, 0, now=650.0)
    assert not seat.is_stalled(650.0)
    heard(seat, 0, now=660.0)
    assert seat.is_stalled(660.0)


def test_a_silent_worker_is_left_to_its_lease() -> None:
    seat = a_seat(a_claim(stall_timeout_seconds=5.0))
    heard(seat, 7, now=1.0)
    assert not seat.is_stalled(1.0 + SILENT_SECONDS)


def test_a_trial_without_a_limit_never_stalls() -> None:
    seat = a_seat(a_claim(stall_timeout_seconds=None))
    heard(seat, 7, now=0.0)
    heard(seat, 7, now=1e6)
    assert not seat.is_stalled(1e6)


def test_the_shortest_limit_of_a_pack_counts() -> None:
    claims = [a_claim("t1", stall_timeout_seconds=None), a_claim("t2", stall_timeout_seconds=9.0)]
    seat = a_seat(*claims)
    heard(seat, 7, now=0.0)
    heard(seat, 7, now=8.9)
    assert not seat.is_stalled(8.9)
    heard(seat, 7, now=9.0)
    assert seat.is_stalled(9.0)


def test_a_new_pack_starts_with_a_new_count() -> None:
    seat = a_seat(a_claim())
    heard(seat, 7, now=1.0)
    seat.finish(now=499.0)
    seat.begin([a_claim("t2")], now=500.0)
    heard(seat, 7, now=501.0)
    assert not seat.is_stalled(501.0)


def test_a_seat_knows_how_far_its_trial_is() -> None:
    seat = a_seat(a_claim())
    assert seat.reached == "its start"
    seat.note_place(points_of("t1", 0.5, 0.25))
    assert seat.reached == "epoch 2, step 20"
    seat.note_place(saved("t1", epoch=3))
    assert seat.reached == "epoch 3, step 30"


def fail(seat: Seat, *trial_ids: str, kind: FailureKind = FailureKind.ERROR, at: float) -> None:
    """Trials fail, one pack after another."""
    for trial_id in trial_ids:
        seat.begin([a_claim(trial_id)], now=at)
        seat.count_failure(trial_id, replace(ERROR, kind=kind), now=at)


def succeed(seat: Seat, *, now: float) -> None:
    """A trial does well."""
    seat.begin([a_claim("good")], now=now)
    seat.count_success("good", now=now)


def test_a_worker_where_three_trials_fail_while_another_does_well_is_suspect() -> None:
    bad, good = a_seat(), a_seat()
    fail(bad, "t1", "t2", at=1.0)
    succeed(good, now=2.0)
    assert suspects({"bad": bad, "good": good}) == []
    fail(bad, "t3", at=3.0)
    assert suspects({"bad": bad, "good": good}) == ["bad"]


def test_without_a_success_elsewhere_the_trials_are_to_blame() -> None:
    bad, other = a_seat(), a_seat()
    succeed(other, now=1.0)  # before the first of them
    fail(bad, "t1", "t2", "t3", at=2.0)
    assert suspects({"bad": bad, "other": other}) == []
    assert suspects({"bad": bad}) == []


def test_the_success_of_a_worker_of_another_size_says_nothing() -> None:
    bad, other = a_seat(), a_seat()
    other.resources = Resources(cpus=2, gpus=0.0)
    fail(bad, "t1", "t2", "t3", at=1.0)
    succeed(other, now=2.0)
    assert suspects({"bad": bad, "other": other}) == []


def test_a_worker_hangs_at_its_start_only_until_it_is_up() -> None:
    seat = Seat(ONE_CPU, hired_at=5.0, heard_at=5.0)
    assert not seat.hangs_at_start(4.9 + START_SECONDS)
    assert seat.hangs_at_start(5.0 + START_SECONDS)
    assert not a_seat().hangs_at_start(5.0 + START_SECONDS)


def test_one_trial_that_fails_again_and_again_is_no_streak() -> None:
    bad, good = a_seat(), a_seat()
    fail(bad, "t1", "t1", "t1", "t1", at=1.0)
    succeed(good, now=2.0)
    assert suspects({"bad": bad, "good": good}) == []


def test_a_success_ends_the_streak() -> None:
    bad, good = a_seat(), a_seat()
    fail(bad, "t1", "t2", at=1.0)
    succeed(bad, now=2.0)
    fail(bad, "t3", at=3.0)
    succeed(good, now=4.0)
    assert suspects({"bad": bad, "good": good}) == []


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (FailureKind.ERROR, True),
        (FailureKind.OUT_OF_MEMORY, True),
        (FailureKind.STALLED, True),
        (FailureKind.TIMEOUT, False),
        (FailureKind.NOT_FINITE, False),
        (FailureKind.DATA, False),
    ],
)
def test_only_what_a_bad_place_may_cause_counts(kind: FailureKind, counts: bool) -> None:
    bad, good = a_seat(), a_seat()
    fail(bad, "t1", "t2", "t3", kind=kind, at=1.0)
    succeed(good, now=2.0)
    assert suspects({"bad": bad, "good": good}) == (["bad"] if counts else [])


def test_the_last_failure_is_told() -> None:
    seat = a_seat(a_claim("t1"))
    seat.count_failure("t1", Failure(FailureKind.ERROR, "E", "cuda error 700"), now=1.0)
    assert seat.streak.message == "cuda error 700"


def test_a_seat_knows_how_much_of_its_pack_is_left() -> None:
    seat = a_seat(a_claim("t1"), a_claim("t2"), a_claim("t3"))  # of two epochs each
    assert seat.num_left == 3.0
    seat.note_place(TrialBegun("t1", 1, 10))
    seat.note_place(points_of("t2", 0.5, 0.25))
    assert seat.num_left == 1.5
    del seat.leases["t3"]
    assert seat.num_left == 0.5
    seat.finish(now=1.0)
    seat.begin([a_claim("t1")], now=1.0)
    assert seat.num_left == 1.0


def test_trials_of_one_pack_that_fail_together_are_one_failure() -> None:
    seat = a_seat(a_claim("t1"), a_claim("t2"), a_claim("t3"))
    for trial_id in ("t1", "t2", "t3"):
        seat.count_failure(trial_id, ERROR, now=1.0)
    assert seat.streak.trial_ids == {"t1"}
