"""Real trials under random kills; `make chaos` is the long version of this."""

from pathlib import Path

import pytest

from tests.chaos.campaign import NUM_QUICK, QUICK, run_in_chaos, run_in_peace
from tests.chaos.monkey import ORCHESTRATOR, WORKER

pytestmark = pytest.mark.slow


def test_kills_change_no_result(tmp_path: Path) -> None:
    peace = run_in_peace(tmp_path / "peace", num_trials=NUM_QUICK)

    verdict, log = run_in_chaos(
        tmp_path / "chaos",
        num_trials=NUM_QUICK,
        peace=peace,
        plan=QUICK,
        seed=1,
        has_mlflow=False,
    )

    print(verdict.figures)
    assert verdict.faults == ()
    assert log.num(WORKER) > 0
    assert log.num(ORCHESTRATOR) == 1
