"""What an MLflow that is down costs a run: `make bench BENCH=mlflow_down`.

The same experiment is run to its end, each time in a home of its own: with MLflow in the home
(the default), with a server that is not there, and with one that takes requests and never
answers; one after the other, several times. Then a real server is started where none was, and
`trainyard up --until-idle --wait-for-mlflow` tells it what it missed, which must be what the
store has. The seconds of the whole command are printed as JSON and kept in
`benchmarks/results/mlflow_down.json`, with the hardware and the versions. REPEATS=5 for more.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_server
from typing import Any, Final

from mlflow import MlflowClient

from benchmarks.contest import until_told
from benchmarks.record import measured, write
from orchestrator.measurements.results import Results
from orchestrator.mirroring import mlflow_server
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store
from tests.told_experiment import assert_mlflow_equals_sql

COMMAND: Final = str(Path(sys.executable).with_name("trainyard"))
REPEATS: Final = int(os.environ.get("REPEATS", "3"))
MOST_RATIO: Final = 1.05

EXPERIMENT: Final = """
name: mlflow-down
data: digits
defaults: {epochs: 30, batch_size: 32, momentum: 0.9}
parameters:
  model:
    name: small-lenet
    layers:
      - conv2d: {out_channels: 6, kernel_size: 5, padding: same}
      - relu
      - avg_pool2d: 2
      - flatten
      - linear: 84
      - relu
      - linear: classes
  lr: [0.02, 0.05, 0.1]
seeds: 8
"""


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory() as name, closing(create_server(("127.0.0.1", 0))) as silent:
        folder, port = Path(name), free_port()
        (folder / "spec.yaml").write_text(EXPERIMENT)
        addresses = {
            "up": "",
            "not there": f"http://127.0.0.1:{port}",
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        trainyard(folder, "warm-up", "", "run", "spec.yaml")  # stages the data
        seconds: dict[str, list[float]] = {label: [] for label in addresses}
        for repeat in range(REPEATS):
            for label, address in addresses.items():
                started = time.perf_counter()
                trainyard(folder, f"{label} {repeat}", address, "run", "spec.yaml")
                seconds[label].append(time.perf_counter() - started)
                until_told(folder / f"{label} {repeat}")
        later = told_later(folder, "not there 0", addresses["not there"], port)
    of = {label: measured(values) for label, values in seconds.items()}
    ratios = {label: round(of[label]["median"] / of["up"]["median"], 3) for label in of}
    write(
        "mlflow_down",
        {"seconds": of, "ratio": ratios, "most wanted": MOST_RATIO, "told later": later},
    )


def trainyard(folder: Path, home: str, mlflow: str, *arguments: str) -> None:
    """Run a command of ours in a home of its own; an empty address is MLflow in the home."""
    subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | variables(folder, home, mlflow),
        cwd=folder,
        check=True,
        capture_output=True,
    )


def variables(folder: Path, home: str, mlflow: str) -> dict[str, str]:
    """Give the settings of a command."""
    return {
        "TRAINYARD_HOME": str(folder / home),
        "TRAINYARD_DATA": str(folder / "data"),
        "MLFLOW_TRACKING_URI": mlflow,
    }


def told_later(folder: Path, home: str, mlflow: str, port: int) -> dict[str, Any]:
    """Start the server that was not there, tell it all, and compare what it then shows.

    Raises:
        AssertionError: It does not show what the store has.
    """
    settings = from_environment(variables(folder, home, mlflow))
    engine = open_store(settings.database_url, create=False)
    outbox, results = Outbox(engine), Results(engine)
    missed = outbox.num_pending()
    with server(folder / "server", port):
        started = time.perf_counter()
        trainyard(folder, home, mlflow, "up", "--until-idle", "--wait-for-mlflow")
        seconds = time.perf_counter() - started
        (experiment,) = results.experiments()
        assert_mlflow_equals_sql(results, experiment.id, MlflowClient(mlflow))
    left = outbox.num_pending()
    engine.dispose()
    return {
        "missed": missed,
        "left": left,
        "seconds": round(seconds, 1),
        "equal to the store": True,
    }


@contextmanager
def server(home: Path, port: int) -> Generator[None]:
    """Run MLflow's own server on a store of its own."""
    settings = from_environment({"TRAINYARD_HOME": str(home)})
    process = subprocess.Popen(
        mlflow_server.command(settings, port=port),
        env=mlflow_server.environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, "MLflow's server has died"
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Say whether a server answers."""
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Give a port where nobody listens."""
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
