"""Every recipe is planned, and what its comment says of numbers is held."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from experiments.architectures.transfer import SourceNetwork
from experiments.cookbook import recipe, recipes
from experiments.errors import SpecError
from experiments.planning.knowledge import NOTHING_KNOWN
from experiments.planning.plan import Plan, make_plan
from experiments.spec import read_spec

NUM_VARIANTS_AND_TRIALS = {
    "alexnet-cifar10": (2, 4),
    "autoencoder": (4, 12),
    "cat-or-dog": (6, 12),
    "fashion-mnist": (4, 8),
    "image-folder": (2, 6),
    "keras-convnet": (1, 2),
    "label-noise": (6, 18),
    "linear-regression": (3, 9),
    "locally-connected": (3, 9),
    "logistic-regression": (4, 12),
    "losses": (18, 36),
    "maxout": (5, 15),
    "mlp-depth": (10, 30),
    "mnist-grid": (241, 723),
    "mnist-lenet": (1, 3),
    "network-sizes": (8, 8),
    "optimizers": (45, 90),
    "perceptron": (3, 9),
    "perceptron-digits": (3, 9),
    "plain-vs-residual": (4, 8),
    "pretrain-cifar10-eight": (1, 1),
    "quickstart": (14, 42),
    "regularisers": (8, 24),
    "resnet-cifar10": (4, 8),
    "segmentation": (3, 9),
    "segmentation-patches": (2, 4),
    "segmentation-upsampling": (3, 6),
    "skip-graph": (4, 12),
    "softmax-regression": (8, 24),
    "transfer-cat-dog": (3, 9),
    "vgg-cifar10": (4, 8),
}


class OnePretrained:
    """Knows the network of pretrain-cifar10-eight, and nothing else."""

    def __getattr__(self, name: str) -> Any:
        return getattr(NOTHING_KNOWN, name)

    def source(self, name: str) -> SourceNetwork:
        assert name == "pretrain-cifar10-eight"
        (architecture,) = plan(name, Path("data")).architectures.values()
        return SourceNetwork("trial-1", architecture, "0" * 64, "best.pt")


def plan(name: str, data_root: Path) -> Plan:
    return make_plan(read_spec(recipe(name).text), data_root=data_root)


def test_no_recipe_goes_without_a_test() -> None:
    assert {item.name for item in recipes()} == set(NUM_VARIANTS_AND_TRIALS)


@pytest.mark.parametrize("name", sorted(set(NUM_VARIANTS_AND_TRIALS) - {"transfer-cat-dog"}))
def test_a_recipe_plans(name: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for thing in ("road", "mountain"):
            (tmp_path / "bikes" / split / thing).mkdir(parents=True)
            for number in range(20):
                image = Image.new("RGB", (80 + number, 70), (number, 0, 0))
                image.save(tmp_path / "bikes" / split / thing / f"{number}.jpg")
    planned = plan(name, tmp_path)
    assert (len(planned.variants), len(planned.trials)) == NUM_VARIANTS_AND_TRIALS[name]


def test_the_transfer_recipe_plans_once_its_source_is_there() -> None:
    spec = read_spec(recipe("transfer-cat-dog").text)
    with pytest.raises(SpecError, match="pretrain-cifar10-eight"):
        make_plan(spec, data_root=Path("data"))
    planned = make_plan(spec, data_root=Path("data"), knowledge=OnePretrained())
    assert (len(planned.variants), len(planned.trials)) == NUM_VARIANTS_AND_TRIALS[spec.name]
    inits = [trial.config.init for trial in planned.trials[::3]]
    assert [init and (init.num_layers, init.num_frozen) for init in inits] == [(9, 9), (9, 0), None]


def test_the_famous_networks_have_the_parameters_that_the_recipe_says() -> None:
    counted = {
        label: network.parameters
        for label, network in plan("network-sizes", Path("data")).architectures.items()
    }
    assert counted == {
        "alexnet": 61_100_840,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
        "resnet18": 11_689_512,
        "resnet34": 21_797_672,
        "resnet50": 25_557_032,
        "resnet101": 44_549_160,
        "resnet152": 60_192_808,
    }


def test_the_three_forms_have_the_parameters_that_the_recipe_says() -> None:
    networks = plan("locally-connected", Path("data")).architectures.values()
    assert [network.parameters for network in networks] == [7_074, 70_802, 1_846_418]
    expect = recipe("locally-connected").expect
    assert all(f"{network.parameters:,}" in expect for network in networks)


def test_the_convolutional_form_needs_fewer_multiply_adds_and_no_other_weights() -> None:
    patches, convolutional = plan("segmentation-patches", Path("data")).architectures.values()
    assert convolutional.multiply_adds < patches.multiply_adds
    assert convolutional.parameters == patches.parameters
