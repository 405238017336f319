"""Specs that must be refused: planned as the command line does, on a small machine."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from experiments.architectures.zoo import models
from experiments.errors import SpecError
from experiments.planning.plan import make_plan
from experiments.records import Resources
from experiments.spec import read_spec

MACHINE: Final = Resources(cpus=2, gpus=0.0)
FINITE_RATE: Final = "must be a finite number > 0 and <= 10000"
NAME: Final = "must be a name of 1 to 200 characters: letters, digits, and . _ + - after the first"
KNOWN_MODELS: Final = (
    f"known models: {', '.join(models())}; torchvision/<name>; or write it out under layers"
)


def listed(names: Iterable[str]) -> str:
    """Write names as a message lists them."""
    return ", ".join(names)


def refused(spec: str | bytes, folder: Path) -> list[str]:
    """Plan a spec from a file `s.yaml`; give all its faults, and see that nothing was written."""
    path = folder / "s.yaml"
    path.write_bytes(spec if isinstance(spec, bytes) else spec.encode())
    with pytest.raises(SpecError) as caught:
        make_plan(read_spec(path), data_root=folder / "data", capacity=MACHINE)
    assert caught.value.exit_code == 3
    assert [found.name for found in folder.iterdir()] == ["s.yaml"]
    return str(caught.value).replace(str(path), "s.yaml").splitlines()
