"""The weights of a trial that took another one's result are those of that other one."""

from pathlib import Path

import pytest
import torch

import trainyard as ty
from experiments.errors import NotFoundError
from experiments.events import Ending, Event, Said, StrategiesTimed, TrialSucceeded
from experiments.records import Assignment
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import claim_one
from workers.staging import stage
from workers.training import run_pack

SPEC = """
name: {name}
data: {{name: digits, limit: 100}}
parameters: {{model: softmax_regression, lr: 1000.0, epochs: 3}}
objective: {{select: {select}}}
checkpoints: {{keep: [{keep}]}}
"""


class Told:
    """Keeps what the engine says of a trial."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.ending: Ending | None = None

    def report(self, event: Event) -> None:
        if isinstance(event, Ending):
            self.ending = event
        elif not isinstance(event, StrategiesTimed):
            self.said.append(event)

    def stop_requested(self, trial_id: str) -> bool:  # noqa: ARG002 - the seam's
        return False


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data is staged once for all tests here."""
    return tmp_path_factory.mktemp("data")


def train_one(home: Path, data_root: Path) -> None:
    """Train the next trial to its end, in this process."""
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    queue, told = Queue(engine), Told()
    claim = claim_one(queue)
    assignment = Assignment(
        claim.lease.trial_id,
        fence=claim.lease.fence,
        config=claim.config,
        checkpoints=claim.checkpoints,
        checkpoint_folder=str(home / "checkpoints" / claim.lease.trial_id),
    )
    run_pack([assignment], stage(claim.config.data, root=data_root), told)
    Results(engine).record([(claim.lease, event) for event in told.said])
    assert isinstance(told.ending, TrialSucceeded), told.ending
    assert queue.succeed(claim.lease, told.ending)
    engine.dispose()


@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize("keep", ["best", "last", "best, last"])
def test_who_takes_a_result_has_the_weights_that_its_source_has(
    home: Path, data_root: Path, select: str, keep: str
) -> None:
    kept_otherwise = "last" if keep == "best" else "best"
    ty.submit(SPEC.format(name="other", select=select, keep=kept_otherwise))
    train_one(home, data_root)
    assert ty.submit(SPEC.format(name="source", select=select, keep=keep)).num_reused == 0
    train_one(home, data_root)

    assert ty.submit(SPEC.format(name="taker", select=select, keep=keep)).num_reused == 1

    (source,), (taker,) = ty.trials("source")["trial"], ty.trials("taker")["trial"]
    if (select, keep) == ("best", "last"):  # the best epoch is another one
        for trial_id in (source, taker):
            with pytest.raises(NotFoundError, match=r"checkpoints\.keep must name the epoch"):
                ty.load_model(trial_id)
        return
    (selected,) = ty.trials("source")["selected_epoch"]
    assert (selected == 3) == (select == "last")
    raw = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    raw[1, 0, 3] = 9
    torch.testing.assert_close(
        ty.load_model(taker)(raw), ty.load_model(source)(raw), rtol=0.0, atol=0.0
    )
