"""What costs seconds to import is not imported by the verbs that should answer at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "ray", "mlflow", "pandas", "sklearn"}

MODULES_OF = """
import json, sys
from trainyard.command.main import run
code = run(sys.argv[1:])
heavy = sorted(set(sys.modules) & {heavy!r})
print(json.dumps([code, heavy]), file=sys.stderr)
"""

SPEC = """
name: forty-eight
parameters: {model: [mlp, softmax_regression, vgg11, resnet18], lr: [0.1, 0.01], epochs: [1, 2]}
seeds: 3
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "SPEC"],
        ["submit", "SPEC"],
        ["status"],
        ["trials", "forty-eight"],
        ["trials", "forty-eight", "--csv"],
        ["models"],
        ["datasets"],
        ["losses"],
        ["activations"],
        ["optimizers"],
        ["schema"],
        ["cancel", "forty-eight"],
    ],
    ids=" ".join,
)
def test_a_light_verb_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    environ = os.environ | {"TRAINYARD_HOME": str(tmp_path / "home")}
    if arguments[-1] != "SPEC":
        run(["submit", str(spec)], environ)
    given = [str(spec) if argument == "SPEC" else argument for argument in arguments]
    code, heavy = run(given, environ)
    assert (code, heavy) == (0, [])


def run(arguments: list[str], environ: dict[str, str]) -> tuple[int, list[str]]:
    program = MODULES_OF.replace("{heavy!r}", repr(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environ, capture_output=True, text=True
    )
    code, heavy = json.loads(done.stderr.splitlines()[-1])
    return code, heavy


def test_importing_the_package_costs_nothing() -> None:
    program = "import sys, trainyard; print(sorted(set(sys.modules) & {'sqlalchemy', 'click'}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"
