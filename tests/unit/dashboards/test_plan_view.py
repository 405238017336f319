"""What people read of a plan in a terminal."""

from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dashboards.plan_view import plan_view
from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape
from experiments.architectures.torchvision_networks import TorchvisionFigures
from experiments.architectures.transfer import SourceNetwork
from experiments.planning.cost import CostSample
from experiments.planning.knowledge import NOTHING_KNOWN, Knowledge
from experiments.planning.plan import make_plan
from experiments.records import Resources
from experiments.spec import read_spec

SPEC = "name: t\nparameters: {model: [mlp, softmax_regression], lr: [0.1, 0.2]}\nseeds: 2\n"
NO_REUSE = f"{SPEC}execution: {{reuse: false}}\n"
ROOT = Path("data")


class Finished:
    """Knows what the trials of a spec took, and that some are done."""

    notes: Sequence[str] = ()
    memory_bytes: int | None = None
    has_bfloat16: bool | None = None

    def __init__(self, text: str, *, seconds: float, num_known: int = 0) -> None:
        self._plan = make_plan(read_spec(text), data_root=ROOT)
        self._seconds, self._num_known = seconds, num_known
        self.submitted = False

    def source(self, name: str) -> SourceNetwork:
        layers = [{"conv2d": {"out_channels": 1, "kernel_size": 3}}, "flatten", {"linear": 99}]
        data = {"name": name, "input_shape": [1, 8, 8], "layers": [*layers, {"linear": 4}]}
        return SourceNetwork("abcd-0007", Architecture.from_data(data), "a" * 64, "best.pt")

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:  # noqa: ARG002
        return set(sorted(keys)[: self._num_known])

    def is_submitted(self, experiment_id: str) -> bool:
        return self.submitted and bool(experiment_id)

    def samples(
        self,
        resources: Resources,
        *,
        plain: bool,  # noqa: ARG002 - the protocol's
    ) -> Sequence[CostSample]:
        assert resources.cpus == 1
        return [
            CostSample(trial.work, self._seconds, 300 * 2**20 + trial.work.memory_bytes)
            for trial in self._plan.trials
        ]

    def measure_torchvision(self, name: str, shape: Shape, outputs: int) -> TorchvisionFigures:
        raise AssertionError((name, shape, outputs))


def shown(
    text: str, *, layers: bool = False, width: int = 200, knowledge: Knowledge = NOTHING_KNOWN
) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=width, color_system=None)
    plan = make_plan(
        read_spec(text), data_root=ROOT, capacity=Resources(cpus=2), knowledge=knowledge
    )
    for part in plan_view(plan, layers=layers):
        console.print(part)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def squeezed(line: str) -> str:
    return " ".join(line.split())


def test_a_plan_says_what_is_asked_of_what_and_what_varies() -> None:
    lines = shown(SPEC + "data: {name: digits, limit: 1000, val_fraction: 0.2}\n")
    assert lines[:6] == [
        "t  4 variants x 2 seeds = 8 trials",
        "task      classification: one of several classes for each example",
        (
            "data      digits (1x8x8 -> 10 classes): 800 examples to train, 200 to validate, "
            "360 to test"
        ),
        "judged    by val/accuracy of each trial's best epoch; higher is better",
        "varies    model: mlp, softmax_regression",
        "varies    lr: 0.1, 0.2",
    ]
    assert lines[6].startswith("fixed     activation relu, loss cross_entropy, output_activation")
    assert "none" not in lines[6]


@pytest.mark.parametrize(
    ("text", "data", "judged"),
    [
        (
            "task: regression\ndata: sunshine\nparameters: {model: linear_regression, lr: 0.1}\n",
            "sunshine (1 number -> temperature): ",
            "by val/rmse of each trial's best epoch; lower is better",
        ),
        (
            (
                "task: binary\ndata: {name: cifar10, classes: [cat, dog]}\n"
                "parameters: {model: logistic_regression, lr: 0.1}\n"
            ),
            "cifar10 (3x32x32 -> cat, dog): ",
            "by val/accuracy of",
        ),
        (
            "task: segmentation\ndata: digit_scenes\nparameters: {model: fcn8s, lr: 0.1}\n",
            "digit_scenes (1x64x64 -> 11 classes a pixel): ",
            "by val/mean_iou of",
        ),
        (
            "task: reconstruction\nparameters: {model: autoencoder, lr: 0.1}\n",
            "digits (1x8x8 -> the image itself): ",
            "by val/psnr of",
        ),
    ],
)
def test_each_task_is_shown_in_its_own_words(text: str, data: str, judged: str) -> None:
    lines = shown("name: t\n" + text)
    assert lines[2].startswith("data      " + data)
    assert lines[3].startswith("judged    " + judged)


def test_a_default_that_follows_from_another_hyperparameter_does_not_vary() -> None:
    text = "name: t\nparameters: {model: mlp, lr: 1, loss: [cross_entropy, mean_squared_error]}\n"
    lines = shown(text)
    assert [line for line in lines if line.startswith("varies")] == [
        "varies    loss: cross_entropy, mean_squared_error"
    ]


def test_networks_are_a_line_each_and_layers_a_table_with_its_total() -> None:
    assert [squeezed(line) for line in shown(SPEC)[8:11]] == [
        "network parameters multiply-adds activations output an output sees",
        "mlp 9,610 9,472 1.0 KiB 10 all",
        "softmax_regression 650 640 40 B 10 all",
    ]
    layered = shown(SPEC, layers=True)
    assert "3 linear 10 10 1,290 1,280 40 B 8x8" in map(squeezed, layered)
    assert [squeezed(line) for line in layered if "total" in line] == [
        "total, of one example 9,610 9,472 1.0 KiB",
        "total, of one example 650 640 40 B",
    ]


def test_taken_over_layers_are_told_and_remarked_on_no_more() -> None:
    text = "name: t\nparameters: {model: softmax_regression, lr: 1, init: {from: pre, freeze: 0}}\n"
    lines = [
        squeezed(line) for line in shown(text, layers=True, knowledge=Finished(SPEC, seconds=1))
    ]
    (network,) = (i for i, line in enumerate(lines) if line == "softmax_regression on pre freeze=0")
    assert [line.split(" 1x")[0].split(" 36")[0] for line in lines[network + 2 : network + 4]] == [
        "0 conv2d 1 3x3, from abcd-0007, frozen",
        "1 flatten",
    ]
    assert lines[network + 4].startswith("2 linear 99, from abcd-0007 99 3,663")
    assert lines[network + 6].startswith("4 linear 10 10 1,000")
    assert not any(line.startswith("note") for line in lines)


def test_an_output_that_does_not_see_the_whole_image_says_what_it_sees() -> None:
    text = (
        "name: t\ntask: segmentation\ndata: digit_scenes\n"
        "parameters: {model: {name: patch_network, patch: 16, stride: 8}, lr: 0.1}\n"
    )
    (line,) = (line for line in shown(text) if line.startswith("patch_network"))
    assert line.endswith("24x24")


def test_what_is_left_out_is_told_once_for_each_reason() -> None:
    text = SPEC + "exclude: [{model: mlp}, {lr: 0.2}]\n"
    assert [line for line in shown(text) if line.startswith("left out")] == [
        "left out  2 variants by exclude: model=mlp: such as mlp lr=0.1",
        "left out  1 variant by exclude: lr=0.2: softmax_regression lr=0.2",
    ]


def test_without_finished_trials_the_time_is_not_guessed() -> None:
    assert shown(SPEC)[-2:] == [
        "time      nothing to go by yet: no trial has finished on this machine",
        (
            "memory    about 3.7 MiB a worker for weights and activations; Python and torch come "
            "on top"
        ),
    ]


def test_the_time_is_told_with_its_interval_and_what_it_was_learned_from() -> None:
    lines = shown(SPEC, knowledge=Finished(SPEC, seconds=60.0))
    # 8 trials of a minute by 2 workers, and 8 seconds to start; two works seen: 1.7 times.
    assert lines[-2:] == [
        (
            "time      about 4.1 min (2.5 to 7) with 2 workers, learned from 8 finished trials of "
            "this machine"
        ),
        "memory    about 303.7 MiB a worker, with Python and torch",
    ]
    assert lines[8].endswith("a trial")
    assert squeezed(lines[9]).endswith("all 60 s")


def test_a_leap_beyond_what_was_seen_is_told() -> None:
    large = SPEC.replace("mlp", "{name: mlp, hidden: [4000, 4000]}")
    (line,) = (
        line
        for line in shown(large, knowledge=Finished(SPEC, seconds=60.0))
        if line.startswith("time")
    )
    assert "; unsure: some trials are " in line


def test_results_that_are_there_already_are_told_truly() -> None:
    knows = Finished(SPEC, seconds=1.0, num_known=3)
    told = [line for line in shown(SPEC, knowledge=knows) if line.startswith("known")]
    assert told == [
        (
            "known     3 of 8 trials have a result in the store already (same content key); it is "
            "used again"
        )
    ]
    (known,) = (line for line in shown(NO_REUSE, knowledge=knows) if line.startswith("known"))
    assert known.endswith("(same content key); execution.reuse: false trains them again")
    knows.submitted = True
    told = [line for line in shown(SPEC, knowledge=knows) if line.startswith("known")]
    assert told == [
        "known     this very experiment is in the store already: to submit it changes nothing"
    ]


def test_the_time_of_a_plan_is_that_of_what_is_trained() -> None:
    def time(text: str, num_known: int) -> str:
        lines = shown(text, knowledge=Finished(SPEC, seconds=600.0, num_known=num_known))
        (told,) = (line for line in lines if line.startswith("time"))
        return told

    assert time(SPEC, 0).startswith("time      about 40 min")
    assert time(SPEC, 4).startswith("time      about 20 min")
    assert time(NO_REUSE, 4).startswith("time      about 40 min")
    assert time(SPEC, 8) == "time      none: nothing is left to train"
    lines = shown(SPEC, knowledge=Finished(SPEC, seconds=600.0, num_known=8))
    assert not any(line.startswith("memory") for line in lines)


def test_long_texts_go_on_beside_their_word_in_a_narrow_terminal() -> None:
    lines = shown(SPEC, width=60)
    fixed = next(i for i, line in enumerate(lines) if line.startswith("fixed"))
    assert lines[fixed + 1].startswith("          ")
    assert all(len(line) <= 60 for line in lines[:fixed])
