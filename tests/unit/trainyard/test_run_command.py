"""What `run` does before there is a plan: nothing that would have to be undone."""

from pathlib import Path

import pytest

from orchestrator.pools.pool_process import PoolProcess
from trainyard.command.main import run


@pytest.mark.parametrize(("rate", "num_launched"), [(-1, 0), (0.1, 1)])
def test_pool_is_launched_for_a_plan_and_not_for_a_refused_spec(
    rate: float, num_launched: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[PoolProcess] = []
    worked: list[object] = []

    def work_on(*_: object, pool: PoolProcess, **__: object) -> None:
        worked.append(pool)
        raise KeyboardInterrupt

    monkeypatch.setattr(PoolProcess, "launch", lambda pool: launched.append(pool))
    monkeypatch.setattr("trainyard.working.work_on", work_on)
    spec = home.with_name("spec.yaml")
    spec.write_text(f"name: one\nparameters: {{model: softmax_regression, lr: {rate}}}\n")

    run(["run", str(spec)])

    assert len(launched) == num_launched
    assert worked == launched
