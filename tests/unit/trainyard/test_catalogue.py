import json
from pathlib import Path

import pytest

from experiments.architectures.activations import ACTIVATIONS
from experiments.architectures.layer_language import layer_names
from experiments.architectures.zoo import models
from experiments.compatibility import LOSSES
from experiments.data.augmentation import AUGMENTATIONS
from experiments.data.datasets import DATASETS
from experiments.descent import OPTIMIZERS, SCHEDULES
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.tasks import METRICS, TASKS
from trainyard import handbook
from trainyard.command.main import run


@pytest.mark.parametrize(
    ("verb", "known"),
    [
        ("tasks", {"tasks": TASKS, "metrics": METRICS}),
        ("models", {"models": models()}),
        ("datasets", {"datasets": DATASETS}),
        ("losses", {"losses": LOSSES}),
        ("activations", {"activations": ACTIVATIONS}),
        (
            "optimizers",
            {"optimizers": OPTIMIZERS, "schedules": SCHEDULES, "augmentations": AUGMENTATIONS},
        ),
    ],
)
def test_a_verb_lists_all_that_its_tables_hold(
    verb: str, known: dict[str, dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert run([verb]) == 0
    for_people = capsys.readouterr().out
    for table, entries in known.items():
        assert [row["name"] for row in document[table]] == list(entries)
        assert all(row["doc"] for row in document[table])
        assert all(name in for_people for name in entries)


def test_losses_say_what_each_goes_with(capsys: pytest.CaptureFixture[str]) -> None:
    run(["losses", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["losses"]}
    assert rows["hinge"]["goes_with"] == ["binary: linear", "classification: linear"]
    assert rows["mean_squared_logarithmic_error"]["needs"] == "targets of 0 or more"
    assert rows["cross_entropy"]["also_called"] == ["categorical_cross_entropy"]


def test_optimizers_say_which_hyperparameters_are_theirs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["optimizers", "--json"])
    document = json.loads(capsys.readouterr().out)
    takes = {row["name"]: row["takes"] for row in document["optimizers"] + document["schedules"]}
    assert takes["sgd"] == takes["nesterov"] == ["momentum"]
    assert takes["adam"] == takes["one_cycle"] == []
    assert takes["step"] == ["warmup_epochs", "step_epochs", "step_factor"]


@pytest.mark.usefixtures("broken_package")
def test_models_tell_of_a_package_that_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    (fault,) = json.loads(capsys.readouterr().out)["plugin_faults"]
    assert fault.startswith("the architecture 'bad_net' of an unnamed package cannot be used: ")
    assert run(["models"]) == 0
    assert fault in capsys.readouterr().err


def test_data_sets_say_what_their_targets_are(capsys: pytest.CaptureFixture[str]) -> None:
    run(["datasets", "--json"])
    rows = {row["name"]: row["target"] for row in json.loads(capsys.readouterr().out)["datasets"]}
    assert rows["sunshine"] == "real numbers for each example"
    assert rows["digit_scenes"] == "a class for each pixel"
    assert rows["digits"] == rows["image_folder"] == rows["fake"] == "a class for each example"


@pytest.mark.parametrize("name", ["catalogue", "recipes"])
def test_a_written_page_is_as_the_tables_are(name: str) -> None:
    page: str = getattr(handbook, f"{name}_page")()
    assert Path("docs", f"{name}.md").read_text() == page, "run `make docs`"


def test_the_page_on_specs_leaves_nothing_out() -> None:
    page = Path("docs/spec.md").read_text()
    missing = [name for name in (*HYPERPARAMETERS, *layer_names()) if f"`{name}`" not in page]
    assert missing == []
