"""Data that is truncated while a trial trains on it: the process dies, the trial must fail.

    python -m tests.faults.truncated_data FOLDER

A worker maps its data, so that reading what is no longer there is SIGBUS. The next attempt
sees that the file is not what it was. Prints JSON: how the first process ended, and the trial.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

import torch

from experiments.events import Event, PointsMeasured
from orchestrator.measurements.results import Results
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store
from tests.faults.failpoints import SQLITE, in_a_child, planned, work
from workers.staging import staged_folder

_SPEC: Final = """
name: truncated
data: {name: digits}
defaults: {epochs: 3, lr: 0.05}
parameters: {model: mlp}
"""


def main() -> None:
    """Truncate, train again, and print."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    url = SQLITE.format(home=folder / "home")
    settings = from_environment(
        {"TRAINYARD_HOME": str(folder / "home"), "TRAINYARD_DATABASE_URL": url}
    )
    plan = planned(_SPEC, settings)
    inputs = staged_folder(plan.trials[0].config.data, settings.data) / "train_inputs.npy"

    def truncate(event: Event) -> None:
        if isinstance(event, PointsMeasured):
            inputs.chmod(0o600)
            os.truncate(inputs, 4096)

    first = in_a_child(lambda: work(plan, settings, on_event=truncate))
    second = in_a_child(lambda: work(plan, settings))
    engine = open_store(url, create=False)
    results = Results(engine)
    (trial,) = results.trials(plan.experiment.id)
    answer = {
        "first": signal.Signals(-first).name if first < 0 else first,
        "second": second,
        "state": trial.state,
        "failure": None if trial.failure is None else trial.failure.to_data(),
        "attempts": [each.state for each in results.attempts(trial.id)],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
