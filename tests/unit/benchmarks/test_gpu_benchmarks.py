"""The measurements on a GPU, on a scale of seconds and on the CPU: that they run, and add up."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_lenet, gpu_resnet
from benchmarks.gpu import NO_GPU, images
from experiments.planning.strategies import PLAIN, Strategy

CPU = torch.device("cpu")


def test_lenets_are_timed_alone_and_in_packs() -> None:
    size = gpu_lenet.Size(
        num_train=96, num_test=20, num_alone=1, num_trials=32, members=(4,), workers=(), repeats=1
    )
    found = gpu_lenet.measure(size, CPU)
    ways = found["ways"]
    assert ways["plain"]["times_plain"]["median"] == 1
    assert ways["fused, 4 members"]["num_trials"] == 4
    # What a CPU cannot do is not claimed.
    assert ways["fused, 4 members, CUDA graph"]["ran"] == "fused, 4 members"
    ratio = ways["fused, 4 members"]["trials_per_hour"]["median"]
    ratio /= ways["plain"]["trials_per_hour"]["median"]
    assert ways["fused, 4 members"]["times_plain"]["median"] == pytest.approx(ratio, abs=2e-3)
    (goal,) = gpu_lenet.goals(found)
    assert goal["wanted"] == ">= 20"


@pytest.mark.slow
def test_lenets_are_trained_by_several_workers_at_once() -> None:
    size = gpu_lenet.Size(num_train=96, num_test=20, num_trials=32, members=(4,))
    grid = gpu_lenet.trials(32)
    way = Strategy(4)
    found = gpu_lenet.run_workers(grid, 2, size, way, CPU)
    assert (found.num_trials, found.strategy) == (4, "2 x fused, 2 members")
    assert found.seconds > 0


def test_the_grid_has_every_combination_and_neighbours_compute_alike() -> None:
    grid = gpu_lenet.trials(512)
    seen = {(each.architecture, each.optimizer.lr, each.seed) for each in grid}
    assert len(seen) == 512
    nets = [each.architecture for each in grid]
    assert sum(one != other for one, other in itertools.pairwise(nets)) == 1
    pack = gpu_lenet.part(grid, Strategy(16), gpu_lenet.Size())
    assert len({each.optimizer.lr for each in pack}) > 4
    assert len({each.architecture for each in pack}) == 2


def test_resnets_are_timed_beside_a_product_of_matrices() -> None:
    size = gpu_resnet.Size(num_train=16, batch_size=8, width=0.125, repeats=1, matrix=64)
    ways = {"float32": ("float32", PLAIN), "bfloat16": ("bfloat16", PLAIN)}
    found = gpu_resnet.measure(size, CPU, ways)
    for each in found["ways"].values():
        rate, share = each["images_per_second"]["median"], each["share_of_product_rate"]["median"]
        operations = 6 * found["multiply_adds_per_image"] * rate
        wanted = operations / (1e12 * found["product_teraflops"]["median"])
        assert share == pytest.approx(wanted, rel=0.5, abs=2e-3)
    assert len(gpu_resnet.goals(found)) == 1


def test_made_up_images_are_the_same_again_and_their_splits_are_apart() -> None:
    one, other = (images((1, 8, 8), num_train=50, num_test=10) for _ in range(2))
    assert torch.equal(one.train.inputs, other.train.inputs)
    train, val = (set(split.indices.tolist()) for split in (one.train, one.val))
    assert (len(train), len(val), len(one.test)) == (50, 5, 10)
    assert not train & val


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["gpu_lenet", "gpu_resnet"])
def test_without_a_gpu_nothing_is_measured_or_written(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.strip() == NO_GPU
    assert not Path("benchmarks/results", f"{name}.json").exists()


def test_they_need_torch_and_numpy_only() -> None:
    blocked = "('ray', 'pydantic', 'sqlalchemy', 'yaml', 'mlflow', 'pandas', 'torchvision')"
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        "import benchmarks.gpu_lenet, benchmarks.gpu_resnet\n"
        "benchmarks.gpu_lenet.trials(4); benchmarks.gpu.network('resnet', (3, 32, 32), depth=18, "
        "width=1.0)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )
