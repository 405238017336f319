import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from experiments.architecture import Architecture, LayerSummary
from experiments.errors import SpecError
from experiments.plan import Plan, make_plan
from experiments.records import Resources, TrialConfig
from experiments.spec import read_spec

TWO = "name: t\nparameters: {model: mlp, lr: [0.1, 0.2]}\nseeds: 2\n"
ROOT = Path("data")


def plan(text: str, **options: Resources) -> Plan:
    return make_plan(read_spec(text), data_root=ROOT, **options)


def faults(text: str, **options: Resources) -> list[str]:
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
        "from pathlib import Path; from experiments.plan import make_plan;"
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
    monkeypatch.setattr("experiments.plan.SEMANTICS_VERSION", 99)
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
    other = TWO.replace("name: t", "name: u\ntags: {a: b}\nexecution: {priority: 3}")
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
        "activation": "relu",
        "loss": "cross_entropy",
        "optimizer": "adam",
        "lr": 0.1,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "epochs": 10,
        "batch_size": 64,
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
                "spec:2:28: parameters.model: on digits: own ends in 3 where the task needs 10 "
                "outputs; end it with flatten and linear: classes"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: mlp, batch_size: [8, 5000]}\n",
            (
                "spec:2:49: parameters.batch_size[1]: the batch is larger than the data: "
                "5000 > 1293 images"
            ),
        ),
        (
            "name: t\nparameters: {lr: 1, model: mlp}\ndata: {name: digits, limit: 60}\n",
            (
                "spec: batch_size: the batch is larger than the data: 64 > 54 images "
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
            "spec:2:71: parameters.batch_size: 1293 images in batches of 34 leave a batch of one, "
            "of which batch_norm (mlp batch_norm=true, layer 2) cannot take a variance"
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
        data["data"] |= {"name": None, "options": None}
        data["architecture"] = digest(data["architecture"]["layers"])
        assert trial.content_key == digest(data)


def test_a_plan_counts_the_images_that_a_limit_leaves() -> None:
    limited = plan(TWO + "data: {name: digits, limit: 1000, val_fraction: 0.2}\n")
    assert (limited.num_train, limited.num_val, limited.data.num_train) == (800, 200, 1437)


def test_memory_grows_with_the_batch() -> None:
    def memory(batch_size: int) -> int:
        text = (
            f"name: t\ndefaults: {{batch_size: {batch_size}}}\nparameters: {{model: mlp, lr: 1}}\n"
        )
        return plan(text).estimate.peak_memory_bytes

    # Outputs of flatten, linear, relu and linear, and their gradients: 4 bytes each.
    assert memory(65) - memory(64) == 2 * 4 * (64 + 128 + 128 + 10)
