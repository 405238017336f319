"""What the recipes of the lecture notes show, over three seeds: `make bench BENCH=lessons`.

FCN-32s, 16s and 8s on scenes of digits, and features from eight kinds of things for cats and
dogs: each recipe runs as a user would run it, in a home of its own. The test split's figures
are printed as JSON and kept in `benchmarks/results/lessons.json`, with the hardware and the
versions. Takes about ten minutes on two cores.

The second one needs CIFAR-10: the published archive below TRAINYARD_DATA, or the same
images as a folder (`<path>/{train,test}/<class>/*`) whose path below TRAINYARD_DATA is
CIFAR10_FOLDER. It is left out, saying so, where TRAINYARD_DATA is not set.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.record import Measured, measured, write
from experiments.cookbook import recipes
from experiments.language.yaml_text import parse

COMMAND: Final = str(Path(sys.executable).with_name("trainyard"))


def main() -> None:
    """Measure, print and keep."""
    lessons: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        lessons["segmentation: test/mean_iou"] = run("segmentation", "test/mean_iou", home=home)
        if "TRAINYARD_DATA" in os.environ:
            first = run("pretrain-cifar10-eight", "test/accuracy", home=home)
            second = run("transfer-cat-dog", "test/accuracy", home=home)
            lessons["transfer, eight classes: test/accuracy"] = first
            lessons["transfer, cat or dog: test/accuracy"] = second
        else:
            print("transfer is left out: TRAINYARD_DATA names no CIFAR-10", file=sys.stderr)
    folder = os.environ.get("CIFAR10_FOLDER")
    write("lessons", {"cifar10": folder or "the published archive", "lessons": lessons})


def run(recipe: str, metric: str, *, home: Path) -> dict[str, Measured]:
    """Run a recipe, and summarise each variant's metric over its seeds."""
    path = home / f"{recipe}.yaml"
    path.write_text(json.dumps(_spec(recipe)), encoding="utf-8")  # JSON is YAML
    environment = os.environ | {"TRAINYARD_HOME": str(home)}
    subprocess.run([COMMAND, "run", path, "--wait-for-mlflow"], env=environment, check=True)
    told = subprocess.run(
        [COMMAND, "trials", recipe, "--json"], env=environment, check=True, capture_output=True
    )
    found: dict[str, list[float]] = {}
    for trial in json.loads(told.stdout)["trials"]:
        found.setdefault(trial["variant"], []).append(trial["metrics"][metric])
    return {variant: measured(values) for variant, values in found.items()}


def _spec(recipe: str) -> Mapping[str, Any]:
    text = next(item.text for item in recipes() if item.name == recipe)
    spec: dict[str, Any] = parse(text, source=recipe).plain()
    folder = os.environ.get("CIFAR10_FOLDER")
    if folder and spec["data"]["name"] == "cifar10":
        spec["data"] |= {"name": "image_folder", "path": folder, "image_size": [32, 32]}
    return spec


if __name__ == "__main__":
    main()
