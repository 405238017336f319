import json
from pathlib import Path

import jsonschema
import pytest

from experiments.errors import NotFoundError, SpecError
from experiments.language.yaml_text import parse
from experiments.planning.plan import make_plan
from experiments.records import CheckpointPolicy, Objective, Resources
from experiments.spec import read_spec, spec_schema
from experiments.tasks import METRICS, TASKS

RECIPES = sorted(Path("experiments/recipes").glob("*.yaml"))
SCHEMA = Path("experiments/experiment.schema.json")

HEAD = "name: t\n"
TAIL = "parameters: {model: mlp, lr: 0.1}\n"


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(text)
    return [str(fault) for fault in caught.value.faults]


def test_what_is_not_given_takes_its_default() -> None:
    spec = read_spec(HEAD + TAIL)
    assert spec.task == "classification"
    assert (spec.data.name, spec.data.val_fraction, spec.data.limit) == ("digits", 0.1, None)
    assert spec.objective == Objective("val/accuracy", "maximize", "best")
    assert spec.seeds == (0,)
    assert spec.resources == Resources(cpus=1, gpus=0.0)
    assert spec.execution.max_trials == 10_000
    assert spec.checkpoints == CheckpointPolicy(every_epochs=None, keep=("best", "last"))


@pytest.mark.parametrize("task", TASKS)
def test_the_objective_follows_from_the_task(task: str) -> None:
    text = HEAD + TAIL + f"task: {task}\n"
    headline = TASKS[task].metrics[0]
    expected = Objective(f"val/{headline}", METRICS[headline].goal, "best")
    assert read_spec(text).objective == expected
    given = read_spec(text + f"objective: {{metric: val/{headline}, select: last}}\n").objective
    assert given == Objective(expected.metric, expected.goal, "last")


def test_a_task_that_is_none_puts_no_metric_at_fault() -> None:
    found = faults(HEAD + TAIL + "task: nothing\nobjective: {metric: val/rmse}\n")
    assert [fault.split(": ")[1] for fault in found] == ["task"]


def test_the_goal_follows_from_the_metric() -> None:
    assert read_spec(HEAD + TAIL + "objective: {metric: val/loss}\n").objective == Objective(
        "val/loss", "minimize", "best"
    )


@pytest.mark.parametrize(
    ("given", "seeds"), [("3", (0, 1, 2)), ("[7, 1]", (7, 1)), ("1", (0,)), ("[0]", (0,))]
)
def test_seeds_are_a_number_or_a_list(given: str, seeds: tuple[int, ...]) -> None:
    assert read_spec(HEAD + TAIL + f"seeds: {given}\n").seeds == seeds


def test_durations_are_read_in_seconds() -> None:
    assert read_spec(HEAD + TAIL + "execution: {timeout: 1.5h}\n").execution.timeout == 5400.0


def test_tags_are_kept_as_text() -> None:
    spec = read_spec(HEAD + TAIL + "tags: {team: vision, year: 2026, ok: true}\n")
    assert spec.tags == {"team": "vision", "year": "2026", "ok": "true"}


def test_tags_keep_every_digit_of_a_number() -> None:
    spec = read_spec(HEAD + TAIL + "tags: {a: 0.1234567, b: 1.0, c: 5.0e-4}\n")
    assert spec.tags == {"a": "0.1234567", "b": "1", "c": "0.0005"}


@pytest.mark.parametrize("gpus", ["0", "0.25", "1", "2", "2.0"])
def test_a_worker_gets_a_share_of_a_gpu_or_whole_ones(gpus: str) -> None:
    assert read_spec(HEAD + TAIL + f"resources: {{gpus: {gpus}}}\n").resources.gpus == float(gpus)


@pytest.mark.parametrize("given", ["text", "values"])
def test_a_secret_is_kept_nowhere_and_warned_of(given: str) -> None:
    text = HEAD + TAIL + "tags: {team: vision, wandb_api_key: s3same}\n"
    spec = read_spec(text if given == "text" else parse(text, source="t").plain())
    assert "s3same" not in repr(spec)
    assert spec.tags == {"team": "vision", "wandb_api_key": "(redacted)"}
    assert spec.warnings == (
        "tags.wandb_api_key looks like a secret: its value is not kept; take it out of the spec",
    )
    planned = make_plan(spec, data_root=Path("data"))
    assert planned.warnings == spec.warnings
    assert "s3same" not in repr(planned)


def test_two_labels_at_fault_are_two_faults_and_not_a_third() -> None:
    found = faults(HEAD + TAIL + "include: [{label: [a]}, {label: [b]}]\n")
    assert [fault.split(": ")[1] for fault in found] == ["include[0].label", "include[1].label"]


def test_python_values_make_the_same_spec_as_text() -> None:
    text = HEAD + TAIL
    given = read_spec(parse(text, source="t").plain())
    assert given.plain == read_spec(text).plain


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name: ../x", "1:7: name: must be a name of 1 to 200 characters"),
        ("titel: y", "2:1: titel: unknown key 'titel'"),
        ("dataa: digits", "2:1: dataa: unknown key 'dataa'; did you mean 'data'?"),
        (
            "task: regresion",
            (
                "2:7: task: must be one of classification, binary, regression, reconstruction, "
                "segmentation, got 'regresion'; did you mean 'regression'?"
            ),
        ),
        ("data: mnst", "2:7: data: unknown data set 'mnst'; did you mean 'mnist'?"),
        ("data: {limit: 5}", "2:7: data: the key 'name' is missing"),
        (
            "data: {name: digits, val_fraction: 1}",
            "2:36: data.val_fraction: must be a finite number > 0 and < 1, got 1",
        ),
        (
            "data: {name: image_folder, path: ../etc}",
            "2:34: data.path: must be a path below the data root",
        ),
        ("data: image_folder", "2:7: data: image_folder needs path"),
        (
            "objective: {metric: val/accuracy, goal: minimize}",
            (
                "2:41: objective.goal: val/accuracy is better when it goes the other way: "
                "must be maximize, got 'minimize'"
            ),
        ),
        (
            "objective: {metric: test/accuracy}",
            (
                "2:21: objective.metric: must be one of val/accuracy, val/error, val/precision, "
                "val/recall, val/f1, val/loss, got 'test/accuracy'; did you mean 'val/accuracy'?"
            ),
        ),
        (
            "objective: {metric: val/rmse}",
            (
                "2:21: objective.metric: val/rmse is not measured for the task classification; it "
                "has val/accuracy, val/error, val/precision, val/recall, val/f1, val/loss"
            ),
        ),
        ("search: {method: tpe}", "2:18: search.method: 'tpe' is not supported by this version"),
        ("early_stop: {method: asha}", "2:22: early_stop.method: 'asha' is not supported"),
        ("search: {trials: 20}", "2:10: search.trials: is not supported by this version yet"),
        ("early_stop: {min_epochs: 1}", "early_stop.min_epochs: is not supported by this version"),
        ("early_stop: {factor: 3}", "2:14: early_stop.factor: is not supported by this version"),
        ("early_stop: {epochs: 3}", "2:14: early_stop.epochs: is not supported by this version"),
        ("report: {group_by: [model]}", "2:1: report: is not supported by this version yet"),
        ("seeds: 0", "2:8: seeds: must be a number of seeds from 1 to 10000, or a list"),
        ("seeds: [1, 1]", "2:12: seeds[1]: the seed 1 is given twice"),
        ("seeds: [-1]", "2:9: seeds[0]: must be an integer from 0 to 4294967295, got -1"),
        ("seeds: true", "2:8: seeds: must be a number of seeds"),
        ("resources: {cpus: true}", "2:19: resources.cpus: must be an integer"),
        (
            "resources: {gpus: 1.5}",
            (
                "2:19: resources.gpus: a share of a GPU is below 1; more than one are whole GPUs, "
                "got 1.5"
            ),
        ),
        ("resources: {gpus: .nan}", "2:19: resources.gpus: must be a finite number"),
        ("execution: {timeout: 20}", "2:22: execution.timeout: must be a positive duration"),
        ("execution: {precision: float16}", "2:24: execution.precision: 'float16' is not supp"),
        ("checkpoints: {keep: [worst]}", "2:22: checkpoints.keep[0]: must be one of best, last"),
        ("version: 2", "2:10: version: must be an integer from 1 to 1, got 2"),
        ('description: "a\\u202eb"', "2:14: description: holds the character U+202E"),
        ("tags: {../x: y}", "2:8: tags.../x: must be a name"),
        ("defaults: [1]", "2:11: defaults: must be a mapping of hyperparameters, got [1]"),
        ("defaults: {epochs: 1.5}", "2:20: defaults.epochs: must be an integer from 1"),
        ("defaults: {epochs: 0}", "2:20: defaults.epochs: must be an integer from 1"),
        ("defaults: {optimiser: sgd}", "did you mean 'optimizer'?"),
        ("defaults: {lr: -.inf}", "must be a finite number > 0 and <= 10000, got -.inf"),
        ("defaults: {lr: .inf}", "must be a finite number > 0 and <= 10000, got .inf"),
        ("defaults: {lr: .nan}", "2:16: defaults.lr: must be a finite number > 0"),
        ("zip: [{lr: [0.1, 0.2], momentum: [0.9]}]", "lr has 2, momentum has 1"),
        ("zip: [{momentum: [0.9, 2], epochs: [1, 2]}]", "zip[0].momentum[1]: must be a finite"),
        ("zip: [{lr: [0.1]}]", "2:8: zip[0]: 'lr' varies already in parameters.lr"),
        ("zip: {lr: [0.1]}", "2:6: zip: must be a list of mappings"),
        ("exclude: [{}]", "2:11: exclude[0]: an empty entry would exclude every variant"),
        ("include: [{lr: 1, label: [a]}]", "2:26: include[0].label: must be a text"),
        ('"a\\e[2J": 1', "2:1: a\\x1b[2J: unknown key 'a\\x1b[2J'"),
        ("exclude: [{modle: mlp}]", "2:12: exclude[0].modle: unknown hyperparameter 'modle'"),
    ],
)
def test_each_fault_has_its_place_and_its_reason(line: str, message: str) -> None:
    head = "" if line.startswith("name") else HEAD
    found = faults(head + line + "\n" + TAIL)
    assert any(message in fault for fault in found), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{lr: []}", "2:18: parameters.lr: an empty list"),
        ("{lr: [0.1, 0.1]}", "2:24: parameters.lr[1]: the value 0.1 is given twice"),
        ("{lr: {min: 0.1, max: 1}}", "2:19: parameters.lr.min: ranges need search.method"),
        ("{lr: {values: [0.1], wenn: {}}}", "unknown key 'wenn'; did you mean 'when'?"),
        ("{lr: {when: {model: mlp}}}", "2:18: parameters.lr: the key 'values' is missing"),
        ("{activation: [maxout]}", "maxout has weights of its own, so it is a layer"),
        ("{loss: [euclidean, mean_squared_error]}", "the value mean_squared_error is given twice"),
        ("{loss: hing}", "perceptron, got 'hing'; did you mean 'hinge'?"),
        ("{model: [lenet]}", "unknown model 'lenet'; did you mean 'lenet5'?"),
        (
            "{model: [{name: a, layers: [flatten, relu]}, {name: a, layers: [flatten, tanh]}]}",
            "2:58: parameters.model[1]: another network is called 'a' already",
        ),
        ("{batch_size: [true]}", "must be an integer from 1 to 1000000, got true"),
    ],
)
def test_faults_of_parameters_have_their_place(value: str, message: str) -> None:
    found = faults(f"name: t\nparameters: {value}\n")
    assert any(message in fault for fault in found), found


def test_a_condition_is_checked_even_where_its_values_are_missing() -> None:
    found = faults("name: t\nparameters: {model: mlp, lr: {when: {modle: mlp}}}\n")
    assert [fault.split(": ")[1] for fault in found] == [
        "parameters.lr",
        "parameters.lr.when.modle",
    ]


def test_conditions_that_wait_for_each_other_are_refused() -> None:
    text = """
name: t
parameters:
  model: mlp
  lr: {when: {momentum: 0.9}, values: [0.1]}
  momentum: {when: {lr: 0.1}, values: [0.9]}
"""
    assert [fault.split(": ", 1)[1] for fault in faults(text)] == [
        "parameters.lr.when: the conditions of lr, momentum go in a circle",
        "parameters.momentum.when: the conditions of lr, momentum go in a circle",
    ]


def test_all_faults_come_at_once_in_the_order_of_the_text() -> None:
    found = faults("name: ..\ntask: nothing\nseeds: x\nparameters: {lr: -1}\n")
    assert [fault.split(": ")[0] for fault in found] == [
        "spec:1:7",
        "spec:2:7",
        "spec:3:8",
        "spec:4:18",
    ]


def test_a_list_at_the_root_is_refused() -> None:
    assert faults("- a\n- b\n") == [
        "spec:1:1: a spec is a mapping with keys such as name, got a list"
    ]


def test_a_missing_file_is_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"cannot read the spec 'nowhere\.yaml': No such file"):
        read_spec("nowhere.yaml")


def test_the_committed_schema_is_the_codes() -> None:
    assert json.loads(SCHEMA.read_text()) == spec_schema(), f"run `trainyard schema > {SCHEMA}`"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_by_the_published_schema(recipe: Path) -> None:
    jsonschema.validate(parse(recipe.read_bytes(), source=recipe.name).plain(), spec_schema())


@pytest.mark.parametrize(
    "text",
    [
        "name: t\nseeds: 0\n",
        "name: t\nparameters: {lr: high}\n",
        "name: t\nparameters: {model: {name: own, layers: [conv3d]}}\n",
        "name: t\nunknown: 1\n",
    ],
)
def test_the_published_schema_refuses_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parse(text, source="t").plain(), spec_schema())
    assert faults(text)
