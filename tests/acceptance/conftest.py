"""The real command line, in processes of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).with_name("trainyard"))


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Give the one document on stdout."""
        return json.loads(self.out)


Trainyard = Callable[..., Answer]


@pytest.fixture(scope="session")
def trainyard() -> Trainyard:
    """Run the command line with arguments, in a home."""

    def run(*arguments: str | Path, home: Path, environ: Mapping[str, str] | None = None) -> Answer:
        import os

        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            env={**os.environ, "TRAINYARD_HOME": str(home), **(environ or {})},
            capture_output=True,
            text=True,
            timeout=240,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


SMALL_SPEC = """
name: small
tags: {purpose: test}
data: {name: digits, val_fraction: 0.2, limit: 400}
defaults: {epochs: 3, batch_size: 32, momentum: 0.9, dropout: 0.2}
parameters:
  model:
    - {name: mlp, hidden: [32], batch_norm: true}
    - name: convnet
      layers:
        - conv2d: {out_channels: 8, kernel_size: 3, padding: same}
        - activation
        - max_pool2d: 2
        - flatten
        - dropout
        - linear: classes
  optimizer: [sgd, adam]
  lr: 0.02
seeds: 2
execution: {strategy: plain}  # so that the numbers are the same to the last bit, however often
"""


@pytest.fixture(scope="session")
def small_spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of 8 trials that takes a few seconds."""
    path = tmp_path_factory.mktemp("specs") / "small.yaml"
    path.write_text(SMALL_SPEC)
    return path


@pytest.fixture(scope="session")
def finished_home(
    trainyard: Trainyard, small_spec: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home in which the small experiment has been run to its end, and MLflow been told."""
    home = tmp_path_factory.mktemp("finished") / "home"
    answer = trainyard("run", small_spec, "--wait-for-mlflow", home=home)
    assert answer.code == 0, answer.err
    return home
