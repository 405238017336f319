import sys

import pytest

from benchmarks.contest import OURS, Run, goals, idle_share, ratios, timed


def a_run(seconds: float) -> Run:
    return Run(
        whole_seconds=2 * seconds,
        work_seconds=seconds,
        num_trials=4,
        test_accuracy=0.9,
        middle_accuracy=0.95,
    )


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([("a", 0.0, 10.0)], 0.0),
        ([("a", 0.0, 4.0), ("a", 6.0, 10.0)], 0.2),
        ([("a", 0.0, 6.0), ("a", 4.0, 10.0)], 0.0),  # of one pack
        ([("a", 0.0, 9.0), ("a", 1.0, 2.0), ("a", 9.0, 10.0)], 0.0),
        ([("a", 0.0, 10.0), ("b", 5.0, 10.0)], 0.25),
        ([("a", 0.0, 10.0), ("b", 0.0, 5.0)], 0.25),
    ],
)
def test_worker_is_idle_while_it_has_no_trial(
    spans: list[tuple[str, float, float]], share: float
) -> None:
    assert idle_share(spans) == pytest.approx(share)


def test_ratios_are_taken_pair_by_pair() -> None:
    theirs, ours = [a_run(10.0), a_run(30.0)], [a_run(5.0), a_run(10.0)]

    found = ratios(theirs, ours)

    assert found["work_ratio"] == {"n": 2, "median": 2.5, "min": 2.0, "max": 3.0}


def test_goal_holds_us_to_the_peer_that_is_best() -> None:
    contestants = {
        OURS: {"idle_share": {"median": 0.01}},
        "slow": {"work_ratio": {"median": 9.0}, "whole_ratio": {"median": 9.0}},
        "fast": {"work_ratio": {"median": 1.5}, "whole_ratio": {"median": 1.4}},
    }

    found = goals(contestants, work=2.0, whole=1.3, shipped=25.0, idle=0.03)

    assert [(goal["seen"], goal["reached"]) for goal in found] == [
        (1.5, False),
        (1.4, True),
        (0.01, True),
    ]


def test_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="no such luck"):
        timed([sys.executable, "-c", "raise SystemExit('no such luck')"], {})


def test_nobody_is_told_how_many_threads_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    timed([sys.executable, "-c", "import os; assert 'OMP_NUM_THREADS' not in os.environ"], {})
