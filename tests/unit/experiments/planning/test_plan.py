import hashlib
import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from experiments.architectures.architecture import Architecture, LayerSummary
from experiments.architectures.geometry import Shape
from experiments.architectures.torchvision_networks import TorchvisionFigures
from experiments.architectures.transfer import SourceNetwork
from experiments.errors import NotFoundError, SpecError
from experiments.planning.cost import CostSample
from experiments.planning.plan import Plan, make_plan
from experiments.records import AugmentationConfig, Resources, TrialConfig
from experiments.spec import read_spec

TWO = "name: t\nparameters: {model: mlp, lr: [0.1, 0.2]}\nseeds: 2\n"
ROOT = Path("data")


def plan(text: str, **options: Any) -> Plan:
    return make_plan(read_spec(text), data_root=ROOT, **options)


def faults(text: str, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        plan(text, **options)
    return [str(fault) for fault in caught.value.faults]


def test_trials_are_variants_times_seeds_in_order() -> None:
    trials = plan(TWO).trials
    assert [(t.number, t.variant, t.seed) for t in trials] == [
        (1, "lr=0.1", 0),
        (2, "lr=0.1", 1),
        (3, "lr=0.2", 0),
        (4, "lr=0.2", 1),
    ]
    assert [t.config.seed for t in trials] == [0, 1, 0, 1]


def test_ids_are_the_same_on_every_machine() -> None:
    code = (
        "from pathlib import Path; from experiments.planning.plan import make_plan;"
        "from experiments.spec import read_spec;"
        f"p = make_plan(read_spec({TWO!r}), data_root=Path('elsewhere'));"
        "print(p.experiment.id, *[t.id + t.content_key for t in p.trials])"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    here = plan(TWO)
    assert other == [here.experiment.id, *[t.id + t.content_key for t in here.trials]]


def test_ids_ignore_comments_and_description_but_no_value() -> None:
    same = plan("# a comment\ndescription: why\n" + TWO)
    assert same.experiment.id == plan(TWO).experiment.id
    assert plan(TWO.replace("0.2", "0.3")).experiment.id != plan(TWO).experiment.id


def test_an_upgrade_that_changes_numbers_makes_another_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = plan(TWO)
    monkeypatch.setattr("experiments.planning.content_keys.SEMANTICS_VERSION", 99)
    assert plan(TWO).experiment.id != before.experiment.id


def test_other_images_in_a_folder_make_another_experiment(tmp_path: Path) -> None:
    def experiment_id(colour: int) -> str:
        for split in ("train", "test"):
            for name in ("bike", "car"):
                folder = tmp_path / "photos" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(10):
                    Image.new("L", (8, 8), colour + number).save(folder / f"{number}.png")
        text = TWO + "defaults: {batch_size: 4}\ndata: {name: image_folder, path: photos}\n"
        return make_plan(read_spec(text), data_root=tmp_path).experiment.id

    assert experiment_id(10) == experiment_id(10) != experiment_id(100)


def test_content_keys_ignore_what_does_not_decide_the_numbers() -> None:
    keys = [t.content_key for t in plan(TWO).trials]
    other = TWO.replace(
        "name: t", "name: u\ntags: {a: b}\nexecution: {priority: 3, strategy: plain}"
    )
    assert plan(other).experiment.execution.strategy == "plain"
    assert [t.content_key for t in plan(other).trials] == keys
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    "line",
    [
        "defaults: {epochs: 3}",
        "defaults: {batch_size: 32}",
        "defaults: {activation: tanh}",
        "defaults: {weight_decay: 0.1}",
        "data: {name: digits, split_seed: 1}",
        "data: {name: digits, val_fraction: 0.2}",
        "data: {name: digits, limit: 1000}",
        "data: {name: digits, label_noise: 0.1}",
        "data: {name: digits, normalise: none}",
        "data: {name: digits, noise: 0.1}",
        "data: {name: digits, resize: 12}",
        "data: {name: digits, classes: ['3', '8']}",
        "defaults: {augmentation: shift}",
        "defaults: {output_activation: sigmoid}",
        "data: {name: fake, image_shape: [1, 8, 8], classes: 10, examples: 1797}",
        "objective: {select: last}",
    ],
)
def test_content_keys_differ_with_whatever_decides_the_numbers(line: str) -> None:
    before = {t.content_key for t in plan(TWO).trials}
    assert not before & {t.content_key for t in plan(TWO + line + "\n").trials}


def test_a_written_out_network_equals_the_named_one_it_copies() -> None:
    written = "{name: mine, layers: [flatten, {linear: 128}, activation, {linear: classes}]}"
    mine = plan(f"name: t\nparameters: {{model: {written}, lr: 0.1}}\n").trials[0]
    named = plan("name: t\nparameters: {model: mlp, lr: 0.1}\n").trials[0]
    assert mine.content_key == named.content_key


def test_configurations_survive_the_store() -> None:
    for trial in plan(TWO).trials:
        stored = json.loads(json.dumps(trial.config.to_data()))
        assert TrialConfig.from_data(stored).to_data() == trial.config.to_data()


def test_params_are_what_applies_as_scalars() -> None:
    params = plan("name: t\nparameters: {model: mlp, lr: 0.1, optimizer: adam}\n").trials[0].params
    assert params == {
        "model": "mlp",
        "init": "none",
        "activation": "relu",
        "loss": "cross_entropy",
        "output_activation": "softmax",
        "optimizer": "adam",
        "lr": 0.1,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "epochs": 10,
        "batch_size": 64,
        "augmentation": "none",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: t\nparameters:\n  lr: 1\n  model: [mlp, lenet5]\n",
            (
                "spec:4:16: parameters.model[1]: on digits: lenet5 does not fit an input of 1x8x8: "
                "layer 3: conv2d 16 5x5 needs an input of at least 5x5, got 6x4x4"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: {name: own, layers: [flatten, {linear: 3}]}}\n",
            (
                "spec:2:58: parameters.model.layers[1]: on digits: own ends in 3 where the "
                "task needs 10; end it with flatten and linear: classes"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: mlp, batch_size: [8, 5000]}\n",
            (
                "spec:2:49: parameters.batch_size[1]: the batch is larger than the data: "
                "5000 > 1293 examples"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: mlp}\ndata: {name: digits, limit: 60}\n",
            (
                "spec: batch_size: the batch is larger than the data: 64 > 54 examples "
                "(the default is 64)"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: mlp}\nexclude: [{lr: 1}]\n",
            "spec: parameters: no variant is left to train",
        ),
        (
            "name: t\n",
            (
                "spec: parameters: the hyperparameter 'model' is missing (every variant needs "
                "one); give it in defaults or parameters"
            ),
        ),
    ],
)
def test_what_would_fail_for_certain_is_a_fault_with_its_place(text: str, message: str) -> None:
    assert faults(text) == [message]


def test_a_batch_of_one_under_batch_norm_is_refused() -> None:
    text = "name: t\nparameters: {lr: 1, model: {name: mlp, batch_norm: true}, batch_size: 34}\n"
    assert faults(text) == [
        (
            "spec:2:71: parameters.batch_size: 1293 examples in batches of 34 leave a batch of "
            "one, of "
            "which batch_norm (mlp batch_norm=true, layer 2) cannot take a variance"
        )
    ]
    plan(text.replace("34", "35"))


def test_a_missing_image_folder_is_a_fault_of_the_data(tmp_path: Path) -> None:
    text = TWO + "data: {name: image_folder, path: bikes}\n"
    with pytest.raises(SpecError, match=r"spec:4:7: data: .*bikes"):
        make_plan(read_spec(text), data_root=tmp_path)


def test_a_grid_beyond_the_limit_is_refused_unless_the_spec_allows_it() -> None:
    rates = ", ".join(f"{0.001 * i:.4f}" for i in range(1, 52))
    text = f"name: t\nparameters: {{model: mlp, lr: [{rates}]}}\nseeds: 2\n"
    small = text + "execution: {max_trials: 100}\n"
    assert faults(small) == [
        (
            "spec: parameters: 51 points x 2 seeds are 102 trials, more than 100; vary less, or "
            "set execution.max_trials"
        )
    ]
    assert len(plan(text).trials) == 102


def test_a_worker_larger_than_the_machine_is_refused() -> None:
    text = TWO + "resources: {cpus: 8, gpus: 1}\n"
    assert faults(text, capacity=Resources(cpus=2, gpus=0)) == [
        "spec:4:12: resources.cpus: a worker cannot have 8 cpus: this machine has 2",
        "spec:4:12: resources.gpus: a worker cannot have 1 gpus: this machine has 0",
    ]


def test_networks_are_listed_once_a_model() -> None:
    text = (
        "name: t\nparameters: {model: [mlp, softmax_regression], lr: 1, activation: [relu, tanh]}"
    )
    architectures = plan(text + "\n").architectures
    assert {label: a.parameters for label, a in architectures.items()} == {
        "mlp": 64 * 128 + 128 + 128 * 10 + 10,
        "softmax_regression": 650,
    }


def test_a_network_is_traced_once_however_many_trials_train_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced = 0
    trace = Architecture.trace

    def counting(architecture: Architecture) -> tuple[LayerSummary, ...]:
        nonlocal traced
        traced += 1
        return trace(architecture)

    monkeypatch.setattr(Architecture, "trace", counting)
    few = "name: t\nparameters: {model: resnet50, lr: 0.1}\n"
    plan(few)
    once, traced = traced, 0
    plan(few.replace("lr: 0.1", "lr: [0.1, 0.2, 0.3]") + "seeds: 30\n")
    assert traced == once


def test_content_keys_hash_the_configuration_without_names_of_data_and_network() -> None:
    def digest(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    for trial in plan(TWO).trials:
        data = trial.config.to_data()
        data["data"] |= {"name": None, "options": None, "changes": {}}
        data["architecture"] = digest(data["architecture"]["layers"])
        assert trial.content_key == digest(data)


def test_a_plan_counts_the_images_that_a_limit_leaves() -> None:
    limited = plan(TWO + "data: {name: digits, limit: 1000, val_fraction: 0.2}\n")
    assert (limited.num_train, limited.num_val, limited.data.num_train) == (800, 200, 1437)


def test_memory_grows_with_the_batch() -> None:
    def memory(batch_size: int) -> int:
        text = f"name: t\nparameters: {{model: mlp, lr: 1, batch_size: {batch_size}}}\n"
        return plan(text).estimate.peak_memory_bytes

    # Outputs of linear, relu and linear (flatten makes no new ones); the largest twice more,
    # as a gradient and what it is made of: 4 bytes each. With less than these batches the 360
    # examples of an evaluation would take more.
    assert memory(401) - memory(400) == 4 * (128 + 128 + 10 + 2 * 128)


class Knows:
    """Knowledge with fixed answers."""

    notes: Sequence[str] = ()

    def __init__(
        self,
        *,
        done: Collection[str] = (),
        kept: Collection[str] = ("best", "last"),
        samples: Sequence[CostSample] = (),
        memory_bytes: int | None = None,
        has_bfloat16: bool | None = None,
        source: SourceNetwork | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.has_bfloat16 = has_bfloat16
        self._done, self._kept = set(done), set(kept)
        self._samples, self._source = samples, source

    def source(self, name: str) -> SourceNetwork:
        if self._source is None:
            raise NotFoundError(f"{name!r} is neither an experiment nor a trial")
        return self._source

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:
        return self._done & set(keys) if set(keep) <= self._kept else set()

    def is_submitted(self, experiment_id: str) -> bool:
        return experiment_id in self._done

    def samples(
        self,
        resources: Resources,
        *,
        plain: bool,  # noqa: ARG002 - the protocol's
    ) -> Sequence[CostSample]:
        assert resources.cpus == 1
        return self._samples

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        assert (name, shape, outputs) == ("resnet18", (1, 8, 8), 10)
        return TorchvisionFigures(11_181_642, 2_000, 500)


def test_a_plan_counts_the_trials_that_have_a_result_already() -> None:
    before = plan(TWO)
    keys = [trial.content_key for trial in before.trials]
    again = plan(TWO, knowledge=Knows(done=[keys[0], keys[3], "another"]))
    assert (before.num_known, again.num_known, again.is_submitted) == (0, 2, False)
    assert plan(TWO, knowledge=Knows(done=[before.experiment.id])).is_submitted


@pytest.mark.parametrize(("keep", "num_known"), [("[]", 4), ("[last]", 4), ("[best]", 0)])
def test_a_plan_asks_for_results_with_the_checkpoints_that_are_kept(
    keep: str, num_known: int
) -> None:
    keys = [trial.content_key for trial in plan(TWO).trials]
    again = plan(f"{TWO}checkpoints: {{keep: {keep}}}\n", knowledge=Knows(done=keys, kept=["last"]))
    assert (len(keys), again.num_known) == (4, num_known)


def test_a_plan_shares_its_trials_among_the_workers_that_fit() -> None:
    trials = plan(TWO).trials
    knows = Knows(samples=[CostSample(trial.work, 10.0, None) for trial in trials])
    for cpus, workers in [(1, 1), (2, 2), (64, 4)]:
        cost = plan(TWO, capacity=Resources(cpus=cpus), knowledge=knows).estimate
        assert cost.seconds is not None
        assert cost.num_workers == workers
        assert cost.seconds.seconds == pytest.approx(8 + 10 * 4 / workers)
    assert plan(TWO, knowledge=knows).estimate.num_workers == 1


def test_workers_that_need_more_memory_than_there_is_are_remarked_on() -> None:
    text = "name: t\nparameters: {model: {name: mlp, hidden: [20000, 20000]}, lr: [1, 2]}\n"
    (told,) = plan(text, knowledge=Knows(memory_bytes=2**32)).warnings
    assert told == (
        "a worker of 4.5 GiB needs more than the 4.0 GiB of this machine; use a smaller batch or "
        "network"
    )
    two = Resources(cpus=2)
    (told,) = plan(text, capacity=two, knowledge=Knows(memory_bytes=2**33)).warnings
    assert told == (
        "2 workers of 4.5 GiB need more than the 8.0 GiB of this machine; use a smaller batch or "
        "network, or run with --workers 1"
    )
    assert not plan(text, capacity=two, knowledge=Knows(memory_bytes=2**34)).warnings


SOURCE = SourceNetwork(
    "abcd-0007",
    Architecture.from_data(
        {
            "name": "pre",
            "input_shape": [1, 8, 8],
            "layers": ["flatten", {"linear": 16}, "relu", {"linear": 4}],
        }
    ),
    sha256="a" * 64,
    path="/home/best-0003.pt",
)
ENDS_IN_TEN = Architecture.from_data(
    {"name": "pre", "input_shape": [1, 8, 8], "layers": ["flatten", {"linear": 10}]}
)
TRANSFER = (
    "name: t\ndefaults: {lr: 0.1, model: softmax_regression}\n"
    "parameters: {init: [none, {from: pretrain}, {from: pretrain, freeze: none}]}\n"
)


def test_a_network_on_top_of_a_trained_one_is_planned_as_a_whole() -> None:
    made = plan(TRANSFER, knowledge=Knows(source=SOURCE))
    chance, frozen, tuned = (trial.config for trial in made.trials)
    assert chance.init is None
    assert [row.kind for row in frozen.architecture.trace()][:3] == [
        "flatten",
        "linear",
        "activation",
    ]
    assert frozen.init is not None
    assert tuned.init is not None
    assert (frozen.init.num_layers, frozen.init.num_frozen, tuned.init.num_frozen) == (3, 3, 0)
    assert list(made.architectures) == [
        "softmax_regression",
        "softmax_regression on pretrain",
        "softmax_regression on pretrain freeze=none",
    ]
    # A frozen layer has neither gradients nor updates.
    slow, fast = made.trials[2].work, made.trials[1].work
    assert fast.multiply_adds < slow.multiply_adds
    assert fast.updated_parameters == fast.steps * (16 * 10 + 10)


def test_the_weights_decide_and_not_what_they_are_called_or_where_they_lie() -> None:
    def identity(**changes: Any) -> tuple[str, list[str]]:
        made = plan(TRANSFER, knowledge=Knows(source=replace(SOURCE, **changes)))
        return made.experiment.id, [trial.content_key for trial in made.trials]

    moved = identity(path="/elsewhere/best.pt", trial_id="ef01-0001")
    other = identity(sha256="b" * 64)
    assert moved == identity()
    assert other[0] != identity()[0]
    assert other[1][0] == identity()[1][0]
    assert other[1][1:] != identity()[1][1:]


@pytest.mark.parametrize(
    ("given", "source", "message"),
    [
        ("{from: x}", None, "'x' is neither an experiment nor a trial"),
        ("{from: x, freeze: 9}", SOURCE, "on digits: freeze: 9 names no layer"),
        (
            "{from: x, layers: last}",
            replace(SOURCE, architecture=ENDS_IN_TEN),
            (
                "own on x layers=last has nothing to learn: all its weights are frozen; freeze "
                "fewer layers, or put weights on top"
            ),
        ),
        (
            "{from: x}",
            replace(SOURCE, architecture=replace(SOURCE.architecture, input_shape=(1, 28, 28))),
            "abcd-0007 learned on inputs of 1x28x28, this data has 1x8x8",
        ),
    ],
)
def test_what_a_trained_network_cannot_do_is_a_fault_of_init(
    given: str, source: SourceNetwork | None, message: str
) -> None:
    model = "{name: own, layers: [relu]}" if "last" in given else "mlp"
    text = f"name: t\ndefaults: {{init: {given}, lr: 1, model: {model}}}\n"
    (fault,) = faults(text, knowledge=Knows(source=source))
    assert fault.startswith("spec:2:18: defaults.init: " + message)


@pytest.mark.parametrize(("moves", "fault"), [(7, None), (8, "cannot move by 8 pixels")])
def test_an_image_cannot_move_out_of_itself(moves: int, fault: str | None) -> None:
    text = (
        "name: t\ndefaults: {lr: 1, model: mlp, augmentation: shift, "
        f"augmentation_pixels: {moves}}}\n"
    )
    if fault is None:
        assert plan(text).trials[0].config.augmentation == AugmentationConfig("shift", 7)
    else:
        (found,) = faults(text)
        assert "defaults.augmentation_pixels: an image of 8x8 " + fault in found


def test_moves_are_an_eighth_of_the_image_unless_given() -> None:
    text = "name: t\ndefaults: {lr: 1, model: mlp, augmentation: shift}\n"
    assert plan(text).trials[0].config.augmentation == AugmentationConfig("shift", 1)
    assert plan(text.replace("shift", "flip")).trials[0].config.augmentation.pixels is None


def test_what_is_made_of_the_data_is_in_the_configuration_and_its_digest() -> None:
    changed = plan(TWO + "data: {name: digits, classes: [3, 8]}\n")
    config = changed.trials[0].config
    assert config.data.changes == {"classes": ["3", "8"]}
    assert config.architecture.output_shape == (2,)
    assert config.data.digest != plan(TWO).trials[0].config.data.digest


def test_a_limit_above_the_examples_there_are_is_none() -> None:
    keys = [t.content_key for t in plan(TWO).trials]
    for limit in (1437, 5000):
        text = TWO + f"data: {{name: digits, limit: {limit}}}\n"
        assert [t.content_key for t in plan(text).trials] == keys


def test_torchvision_where_nobody_can_measure_it_is_a_fault_of_the_model() -> None:
    assert faults("name: t\ndefaults: {lr: 1, model: torchvision/resnet18}\n") == [
        (
            "spec:2:26: defaults.model: torchvision/resnet18 with 10 outputs for an input of 1x8x8 "
            "cannot be measured here"
        )
    ]


@pytest.mark.parametrize(
    ("layers", "blamed", "path"),
    [
        ("[relu, {linear: 4}]", "{linear", "[1]"),
        (
            "[relu, {residual: {body: [relu, {linear: 4}]}}]",
            "{linear",
            "[1].residual.body[1]",
        ),
        (
            "[{residual: {body: [relu], shortcut: [{max_pool2d: 9}]}}]",
            "{max_pool2d",
            "[0].residual.shortcut[0]",
        ),
        ("[{residual: {body: [{max_pool2d: 2}]}}]", "{residual", "[0]"),
        (
            "[{patches: {size: 2, layers: [relu, {linear: 1}]}}]",
            "{linear",
            "[0].patches.layers[1]",
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_a_fault_at_its_own_place(
    layers: str, blamed: str, path: str
) -> None:
    line = f"defaults: {{lr: 1, batch_size: 8, model: {{name: own, layers: {layers}}}}}"
    (fault,) = faults(f"name: t\n{line}\n")
    place = f"spec:2:{line.index(blamed) + 1}: defaults.model.layers{path}"
    assert fault.startswith(f"{place}: on digits: own does not fit an input of 1x8x8: layer ")


def test_torchvision_is_measured_by_whoever_can() -> None:
    text = "name: t\ndefaults: {lr: 1, model: torchvision/resnet18}\n"
    made = plan(text, knowledge=Knows())
    (network,) = made.architectures.values()
    assert (network.parameters, network.multiply_adds) == (11_181_642, 2_000)
    assert network.activation_bytes == 4 * 500


def test_large_plans_are_made_quickly_and_without_torch() -> None:
    rates = ", ".join(f"{0.0001 * i:.4f}" for i in range(1, 1251))
    grid = (
        "name: t\ndata: {name: mnist}\nseeds: 2\n"
        f"parameters: {{model: [mlp, lenet5], activation: [relu, tanh], lr: [{rates}]}}\n"
    )
    deep = (
        "name: t\ndata: {name: fake, image_shape: [3, 224, 224], classes: 1000, examples: 160}\n"
        "parameters: {model: [resnet152, vgg16], lr: 1}\n"
    )
    code = (
        "import sys, time; from pathlib import Path;"
        "from experiments.planning.plan import make_plan;"
        "from experiments.spec import read_spec;"
        "grid, deep = sys.argv[1:]; start = time.process_time();"
        "n = len(make_plan(read_spec(grid), data_root=Path('d')).trials);"
        "middle = time.process_time(); make_plan(read_spec(deep), data_root=Path('d'));"
        "print(n, middle - start, time.process_time() - middle, 'torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, grid, deep], capture_output=True, text=True, check=True
    )
    number, grid_seconds, deep_seconds, torch = ran.stdout.split()
    assert (number, torch) == ("10000", "False")
    assert float(grid_seconds) < 3
    assert float(deep_seconds) < 1.5


@pytest.mark.parametrize(
    ("there", "model", "resources", "told"),
    [
        (False, "resnet18", "{cpus: 1}", "this machine's processor has no instructions for it"),
        (True, "resnet18", "{cpus: 1}", None),
        (None, "resnet18", "{cpus: 1}", None),
        (False, "resnet18", "{gpus: 1}", None),
        (
            True,
            "softmax_regression",
            "{cpus: 1}",
            "a step of these networks is mostly the starting of operations",
        ),
        (
            True,
            "softmax_regression",
            "{gpus: 1}",
            "a step of these networks is mostly the starting of operations",
        ),
    ],
)
def test_bfloat16_that_makes_nothing_faster_is_told(
    there: bool | None, model: str, resources: str, told: str | None
) -> None:
    text = (
        f"name: t\nparameters: {{model: {model}, lr: 0.1}}\nresources: {resources}\n"
        "data: {name: fake, image_shape: [3, 32, 32], classes: 10, examples: 1000}\n"
        "execution: {precision: %s}\n"
    )
    knows = Knows(has_bfloat16=there)
    found = [each for each in plan(text % "bfloat16", knowledge=knows).warnings if "bfloat" in each]
    assert len(found) == (told is not None)
    assert told is None or told in found[0]
    assert not any("bfloat" in each for each in plan(text % "float32", knowledge=knows).warnings)


def test_precision_makes_another_trial() -> None:
    exact, rounded = (
        plan(f"{TWO}execution: {{precision: {precision}}}\n").trials
        for precision in ("float32", "bfloat16")
    )
    assert not {each.content_key for each in exact} & {each.content_key for each in rounded}
    assert {each.config.precision for each in rounded} == {"bfloat16"}
