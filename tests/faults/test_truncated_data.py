"""Staged data truncated under a trial: the worker dies, and the trial fails for its data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_data_truncated_while_mapped_fails_the_trial_for_good(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.truncated_data", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)

    assert answer["first"] == "SIGBUS"
    assert answer["second"] == 0
    assert answer["state"] == "failed"
    assert answer["attempts"] == ["expired", "failed"]
    assert answer["failure"]["kind"] == "data"
    assert "train_inputs.npy" in answer["failure"]["message"]
