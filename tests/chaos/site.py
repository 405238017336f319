"""Where a run of chaos takes place: a home, a store, and the orchestrator that is kept going."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.settings import Settings, from_environment
from tests.chaos.processes import Process, belonging_to, still_alive

COMMAND: Final = str(Path(sys.executable).with_name("trainyard"))
TRIALS_A_SEED: Final = 20
_NOBODY_LISTENS: Final = "http://127.0.0.1:9"

_SPEC: Final = """
name: chaos
data: {{name: digits, val_fraction: 0.2, limit: 600}}
defaults: {{batch_size: 32, dropout: 0.1, lr: 0.01}}
parameters:
  model:
    - {{name: mlp, hidden: [32], batch_norm: true}}
    - name: small-convnet
      layers:
        - conv2d: {{out_channels: 8, kernel_size: 3, padding: same}}
        - activation
        - max_pool2d: 2
        - flatten
        - dropout
        - linear: classes
  optimizer: [sgd, nesterov, rmsprop, adam, adamw]
  epochs: [1, 3]
seeds: {num_seeds}
execution: {{max_losses: 1000, retries: 100, strategy: plain}}
checkpoints: {{every_epochs: 1}}
"""


def spec_of(num_trials: int) -> str:
    """Write an experiment of so many short trials (a multiple of `TRIALS_A_SEED`)."""
    num_seeds, rest = divmod(num_trials, TRIALS_A_SEED)
    if rest or not num_seeds:
        raise ValueError(f"trials: {num_trials} is not a multiple of {TRIALS_A_SEED}")
    return _SPEC.format(num_seeds=num_seeds)


@dataclass
class Site:
    """A home of its own, with the spec in it."""

    home: Path
    spec: Path
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        """The settings that the site's processes have."""
        return from_environment(self.environ)

    def trainyard(self, *arguments: str, timeout_seconds: float = 600.0) -> str:
        """Run a command to its end, and give what it printed.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
        )
        if done.returncode:
            command = " ".join(["trainyard", *arguments])
            raise RuntimeError(f"`{command}` ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def processes(self) -> set[Process]:
        """Give all processes of the home that live, those of our own commands included."""
        return belonging_to(self.home)


def new_site(
    folder: Path, *, num_trials: int, has_mlflow: bool, database_url: str | None = None
) -> Site:
    """Prepare a site in a folder; without MLflow its runs do not wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    home, spec = folder / "home", folder / "chaos.yaml"
    spec.write_text(spec_of(num_trials))
    foreign = ("TRAINYARD_", "RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    environ = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    environ |= {"TRAINYARD_HOME": str(home), "NO_COLOR": "1"}
    if not has_mlflow:
        environ["MLFLOW_TRACKING_URI"] = _NOBODY_LISTENS
    if database_url is not None:
        environ["TRAINYARD_DATABASE_URL"] = database_url
    return Site(home, spec, environ)


@dataclass
class Orchestrator:
    """A `trainyard up --until-idle` that is started again whenever it is gone too early."""

    site: Site
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start one, in place of any before it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "up", "--until-idle", "--wait-for-mlflow"],
                env=self.site.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> set[Process]:
        """Kill it alone, at once; give all that it leaves behind at that moment."""
        assert self.process is not None
        left = {each for each in self.site.processes() if each.pid != self.process.pid}
        self.process.kill()
        self.process.wait()
        return left

    def exit_code(self) -> int | None:
        """Give how it ended by itself; None while it works."""
        assert self.process is not None
        return self.process.poll()


def seconds_until_gone(processes: set[Process], *, at_most: float) -> float | None:
    """Wait until none of the processes lives; None where some still do after that time."""
    started = time.monotonic()
    while time.monotonic() - started < at_most:
        if not still_alive(processes):
            return time.monotonic() - started
        time.sleep(0.1)
    return None
