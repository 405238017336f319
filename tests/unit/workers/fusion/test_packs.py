"""Packs as the engine runs them: how members begin, end, fail and go on."""

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.comparison.statistics import summarise
from experiments.events import (
    CheckpointSaved,
    TrialBegun,
    TrialFailed,
    TrialNoted,
    TrialStopped,
    TrialSucceeded,
)
from experiments.planning.strategies import Strategy
from experiments.records import Assignment, CheckpointPolicy, ResumePoint, TrialConfig
from experiments.states import FailureKind, IncidentKind
from tests.unit.workers.fusion.pack_runs import (
    OPTIMIZERS,
    Listener,
    MakeConfig,
    assign,
    convnet,
    mixed_trials,
    run_together,
)
from workers.checkpoints import load
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.fusion.fused_layers import FusedLinear
from workers.fusion.fused_learner import FusedLearner
from workers.fusion.fused_network import fuse
from workers.learner import EpochRecord
from workers.losses import LOSSES, Loss
from workers.predictor import load_predictor
from workers.training import run_pack


def named(configs: list[TrialConfig]) -> dict[str, TrialConfig]:
    """Name trials a, b, c, ..."""
    return dict(zip("abcdefgh", configs, strict=False))


def in_folders(assignments: list[Assignment], root: Path) -> list[Assignment]:
    """Give each trial a folder of its own."""
    return [
        dataclasses.replace(each, checkpoint_folder=str(root / each.trial_id))
        for each in assignments
    ]


def files(folder: Path) -> dict[str, bytes]:
    """Give a folder's files by kind and epoch; the time in their names is left out."""
    return {path.name[:9]: path.read_bytes() for path in folder.iterdir()}


def success(listener: Listener, name: str) -> TrialSucceeded:
    """Give the success with which a trial must have ended."""
    ending = listener.ending(name)
    assert isinstance(ending, TrialSucceeded), ending
    return ending


def failure(listener: Listener, name: str) -> Any:
    """Give the failure with which a trial must have ended."""
    ending = listener.ending(name)
    assert isinstance(ending, TrialFailed), ending
    return ending.failure


def test_trials_of_one_shape_run_together_and_all_others_alone(
    make_config: MakeConfig, digits: StagedData
) -> None:
    trials = {
        "a": make_config(),
        "wide": make_config(layers=["flatten", {"linear": 10}]),
        "b": make_config(seed=1, lr=0.01, epochs=1),
        "c": make_config(seed=2, loss="mean_squared_error"),
        "d": make_config(seed=3, epochs=3),
    }
    listener = Listener()
    run_pack(assign(trials), digits, listener, strategy=Strategy(3))
    ran = {name: success(listener, name).strategy for name in trials}
    assert ran.pop("wide") == "fused, 1 member"
    assert sorted(ran.values()) == ["fused, 1 member"] + ["fused, 3 members"] * 3


def test_members_report_what_trials_alone_do(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    trials = named(mixed_trials(make_config, optimizer="sgd", epochs=3))
    together = run_together(in_folders(assign(trials), tmp_path / "fused"), digits)
    alone = Listener()
    run_pack(in_folders(assign(trials), tmp_path / "plain"), digits, alone)
    for name in trials:
        assert [type(event) for event in together.of(name)] == [
            type(event) for event in alone.of(name)
        ]
        for point, reference in zip(together.points(name), alone.points(name), strict=True):
            place = (point.metric, point.epoch, point.step)
            assert place == (reference.metric, reference.epoch, reference.step)
            if point.metric != "images_per_second":
                assert point.value == pytest.approx(reference.value, rel=1e-3, abs=1e-5)
        found, expected = success(together, name), success(alone, name)
        assert found.metrics == pytest.approx(expected.metrics, rel=1e-3)
        assert found.selected_epoch == expected.selected_epoch
        assert found.confusion == expected.confusion
        names = [
            sorted(path.name[:9] for path in (tmp_path / way / name).iterdir())
            for way in ("fused", "plain")
        ]
        assert names[0] == names[1]


def test_members_end_when_their_own_epochs_are_through(
    make_config: MakeConfig, digits: StagedData
) -> None:
    epochs = {"a": 3, "b": 1, "c": 4, "d": 1}
    trials = {name: make_config(epochs=num, lr=0.01) for name, num in epochs.items()}
    listener = run_together(assign(trials), digits)
    ends = [e.trial_id for e in listener.events if isinstance(e, TrialSucceeded)]
    assert [sorted(ends[:2]), *ends[2:]] == [["b", "d"], "a", "c"]
    for name, num in epochs.items():
        assert len(listener.curve(name, "val/loss")) == num
    assert listener.bits("b") == listener.bits("d")
    without = run_together(assign({"c": trials["c"]}), digits)
    assert listener.bits("c") == without.bits("c")
    assert success(listener, "c").metrics == success(without, "c").metrics


def test_a_member_that_diverges_fails_with_its_curve_and_touches_no_other(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    trials = {
        "a": make_config(layers=convnet(), epochs=3),
        "bad": make_config(layers=convnet(), epochs=3, lr=1e30, seed=1),
        "b": make_config(layers=convnet("tanh"), epochs=2, seed=2),
    }
    listener = run_together(in_folders(assign(trials), tmp_path / "with"), digits)
    alone = Listener()
    run_pack(assign({"bad": trials["bad"]}), digits, alone)
    assert failure(listener, "bad").kind == FailureKind.NOT_FINITE
    assert failure(listener, "bad").message == failure(alone, "bad").message
    assert "at step" in failure(listener, "bad").message
    curve = listener.curve("bad")
    assert len(curve) >= 1
    assert curve == pytest.approx(alone.curve("bad"), rel=1e-4)
    del trials["bad"]
    without = run_together(in_folders(assign(trials), tmp_path / "without"), digits)
    for name in trials:
        assert listener.bits(name) == without.bits(name)
        assert success(listener, name).metrics == success(without, name).metrics
        assert files(tmp_path / "with" / name) == files(tmp_path / "without" / name)


def test_one_member_stops_and_the_others_go_on(make_config: MakeConfig, digits: StagedData) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("abc")}
    listener = run_together(
        assign(trials), digits, listener=Listener(stop=lambda name, time: (name, time) == ("b", 3))
    )
    assert listener.of("b")[1:] == [TrialStopped("b")]
    undisturbed = run_together(assign(trials), digits)
    for name in "ac":
        assert listener.bits(name) == undisturbed.bits(name)
        assert success(listener, name).metrics == success(undisturbed, name).metrics


def test_a_pack_ends_at_once_when_all_are_to_stop(
    make_config: MakeConfig, digits: StagedData
) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("abc")}
    asked = list[str]()

    def stop(name: str, time: int) -> bool:
        asked.append(name)
        return time == 3

    listener = run_together(assign(trials), digits, listener=Listener(stop=stop))
    assert [listener.ending(name) for name in trials] == [TrialStopped(name) for name in trials]
    assert len(asked) == 9  # nobody is asked again


def test_a_stop_is_heard_while_the_test_split_is_scored(
    make_config: MakeConfig, digits: StagedData
) -> None:
    # Two epochs of six steps, each with one batch of validation; then twelve batches of testing.
    trials = {name: make_config(seed=seed) for seed, name in enumerate("ab")}
    listener = run_together(
        assign(trials), digits, listener=Listener(stop=lambda name, time: (name, time) == ("a", 26))
    )
    assert listener.ending("a") == TrialStopped("a")
    assert len(listener.curve("a", "val/loss")) == 2
    success(listener, "b")


def test_a_timeout_counts_a_members_share_of_the_time(
    make_config: MakeConfig, digits: StagedData
) -> None:
    clock = itertools.count()  # a second passes at each look
    trials = {name: make_config(seed=seed) for seed, name in enumerate("ab")}
    slow, fast = assign(trials)
    pack = [dataclasses.replace(slow, timeout_seconds=3.0), fast]
    listener = run_together(pack, digits, timer=lambda: float(next(clock)))
    assert failure(listener, "a").kind == FailureKind.TIMEOUT
    # It began at 2 s, the epoch was measured from 4 s, so its step k is at 4 + k:
    # of the (2 + k) s since it began half are its own.
    assert (
        "not finished after 3 s (execution.timeout), at step 5 of 12"
        in failure(listener, "a").message
    )
    success(listener, "b")


def test_seconds_are_shared_between_those_who_train(
    make_config: MakeConfig, digits: StagedData
) -> None:
    clock = itertools.count(step=3)
    trials = {"a": make_config(epochs=1), "b": make_config(epochs=1, seed=1)}
    listener = run_together(assign(trials), digits, timer=lambda: float(next(clock)))
    for name in trials:
        assert listener.curve(name, "images_per_second") == [189 / 1.5]
    ends = [success(listener, name).duration_seconds for name in trials]
    assert ends == [6.0, 6.0]  # the second began 3 s later, and ended so


def test_a_member_of_other_data_than_planned_fails_alone(
    make_config: MakeConfig, digits: StagedData
) -> None:
    good = make_config()
    data = dataclasses.replace(good.data, digest="0" * 64)
    listener = Listener()
    trials = {"a": good, "bad": dataclasses.replace(good, data=data), "b": make_config(seed=1)}
    run_pack(assign(trials), digits, listener, strategy=Strategy(8))
    assert failure(listener, "bad").kind == FailureKind.DATA
    assert success(listener, "a").strategy == success(listener, "b").strategy == "fused, 2 members"


def test_a_folder_that_cannot_be_written_costs_no_member_its_trial(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("ab")}
    (tmp_path / "b").touch()  # a file where the folder should be
    listener = run_together(in_folders(assign(trials), tmp_path), digits)
    success(listener, "a")
    success(listener, "b")
    notes = [event for event in listener.events if isinstance(event, TrialNoted)]
    assert [(note.trial_id, note.kind) for note in notes] == [
        ("b", IncidentKind.CHECKPOINT_NOT_WRITTEN)
    ] * 2
    assert {path.name[:9] for path in (tmp_path / "a").iterdir()} >= {"last-0001", "last-0002"}


def test_a_members_checkpoint_is_a_predictor_and_has_its_scores(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    trials = named(
        [make_config(layers=convnet(f), seed=i, epochs=4) for i, f in enumerate(("relu", "tanh"))]
    )
    listener = run_together(in_folders(assign(trials), tmp_path), digits)
    images, labels = digits.test.gather(torch.arange(len(digits.test)))
    for name in trials:
        saved = [event for event in listener.of(name) if isinstance(event, CheckpointSaved)]
        best = [event for event in saved if event.kind == "best"][-1]
        predictor = load_predictor(Path(best.path), sha256=best.sha256)
        with torch.no_grad():
            right = (predictor(images).argmax(dim=1) == labels).sum().item()
        end = success(listener, name)
        assert best.epoch == end.selected_epoch
        assert right / len(labels) == pytest.approx(end.metrics["test/accuracy"], abs=1e-12)


class KillError(BaseException):
    """Ends the process, as far as the engine can tell."""


class Killer(Listener):
    """A reporter in whose process the power fails at the n-th question about a trial."""

    def __init__(self, name: str, *, at: int) -> None:
        super().__init__()
        self._name, self._left = name, at

    def stop_requested(self, trial_id: str) -> bool:
        self._left -= trial_id == self._name
        if self._left == 0:
            raise KillError
        return False


def points_of(listener: Listener, name: str) -> tuple[ResumePoint, ...]:
    """Give the "last" checkpoints that a trial has on record, the newest first."""
    saved = [e for e in listener.of(name) if isinstance(e, CheckpointSaved) and e.kind == "last"]
    return tuple(ResumePoint(e.path, e.sha256, e.epoch, e.step) for e in reversed(saved))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_killed_pack_goes_on_alone_and_with_others_to_the_same_bytes(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, optimizer: str
) -> None:
    trials = named(mixed_trials(make_config, optimizer=optimizer, epochs=4)[:4])
    straight = run_together(in_folders(assign(trials), tmp_path / "straight"), digits)
    killed = Killer("a", at=2 * 7 + 3)  # in the third epoch
    with pytest.raises(KillError):
        run_together(in_folders(assign(trials), tmp_path / "killed"), digits, listener=killed)
    going_on = {
        name: Assignment(name, 2, config, resume_from=points_of(killed, name))
        for name, config in trials.items()
    }
    newcomer = Assignment("new", 1, make_config(**_like(trials["a"]), seed=9))
    packs = {"alone": [going_on["a"]], "others": [newcomer, going_on["d"], going_on["b"]]}
    for folder, pack in packs.items():
        listener = run_together(in_folders(pack, tmp_path / folder), digits)
        for name in {"a", "b", "d"} & {each.trial_id for each in pack}:
            assert listener.of(name)[0] == TrialBegun(name, epoch=2, step=12)
            found, expected = success(listener, name), success(straight, name)
            assert found.metrics == expected.metrics
            assert listener.bits(name) == [p for p in straight.bits(name) if p[2] > 12]
            last = f"last-{trials[name].epochs:04d}"
            files_of = [files(tmp_path / each / name)[last] for each in (folder, "straight")]
            assert files_of[0] == files_of[1]
    assert len(listener.curve("new", "val/loss")) == trials["a"].epochs


def _like(config: TrialConfig) -> dict[str, Any]:
    """Give what a trial must share with another to be of its pack."""
    return {
        "architecture": config.architecture,
        "optimizer": config.optimizer,
        "epochs": config.epochs,
    }


def test_a_trial_of_which_no_epoch_is_left_is_only_scored(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("ab")}
    first = run_together(in_folders(assign(trials), tmp_path / "first"), digits)
    a, b = assign(trials)
    done = dataclasses.replace(a, resume_from=points_of(first, "a"))
    again = run_together(in_folders([done, b], tmp_path / "again"), digits)
    assert success(again, "a").metrics == success(first, "a").metrics
    assert success(again, "b").metrics == success(first, "b").metrics
    assert again.curve("a") == []


@pytest.fixture
def no_room_above(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let linear layers of more members than the list's only number find no memory."""
    limit, seen, forward = [64], list[int](), FusedLinear.forward

    def run_out(layer: FusedLinear, inputs: Tensor) -> Tensor:
        seen.append(layer.num_members)
        if layer.num_members > limit[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(layer, inputs)

    monkeypatch.setattr(FusedLinear, "forward", run_out)
    yield limit
    assert max(seen) > limit[0]


def test_a_pack_without_room_is_halved_until_it_fits(
    make_config: MakeConfig, digits: StagedData, no_room_above: list[int], tmp_path: Path
) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("abcdefg")}
    no_room_above[0] = 64
    expected = run_together(assign({"c": trials["c"]}), digits)
    no_room_above[0] = 2
    listener = run_together(in_folders(assign(trials), tmp_path), digits)
    ran = [success(listener, name).strategy for name in trials]
    assert ran == ["fused, 2 members"] * 6 + ["fused, 1 member"]
    ends = [e.trial_id for e in listener.events if isinstance(e, TrialSucceeded | TrialFailed)]
    assert sorted(ends) == sorted(trials)
    assert listener.bits("c") == expected.bits("c")


def test_a_member_without_room_even_alone_fails_with_the_peak_named(
    make_config: MakeConfig, digits: StagedData, no_room_above: list[int]
) -> None:
    no_room_above[0] = 0
    listener = run_together(assign({"a": make_config(), "b": make_config(seed=1)}), digits)
    for name in "ab":
        assert failure(listener, name).kind == FailureKind.OUT_OF_MEMORY
        assert "the process held" in failure(listener, name).message


def test_who_has_ended_is_not_tried_again_when_a_pack_is_halved(
    make_config: MakeConfig, digits: StagedData, no_room_above: list[int]
) -> None:
    trials = {name: make_config(seed=seed) for seed, name in enumerate("abc")}
    no_room_above[0] = 2
    listener = run_together(
        assign(trials), digits, listener=Listener(stop=lambda name, time: (name, time) == ("b", 1))
    )
    assert [type(e) for e in listener.of("b")] == [TrialBegun, TrialStopped]
    assert success(listener, "a").strategy == "fused, 2 members"


def test_what_stops_a_pack_later_on_is_found_by_going_on_one_by_one(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = {name: make_config(seed=seed, epochs=3) for seed, name in enumerate("abc")}
    expected = run_together(assign({"c": trials["c"]}), digits)
    faulty = trials["b"].seed
    train = FusedLearner.train_epoch

    def fail_in_the_third(
        learner: FusedLearner, epochs: Sequence[int], **options: Any
    ) -> list[EpochRecord]:
        seeds = [member.config.seed for member in learner.members]
        if epochs[0] == 3 and faulty in seeds:
            raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")
        return train(learner, epochs, **options)

    monkeypatch.setattr(FusedLearner, "train_epoch", fail_in_the_third)
    listener = run_together(in_folders(assign(trials), tmp_path), digits)
    assert "CUBLAS" in failure(listener, "b").message
    for name in "ac":
        success(listener, name)
        assert [e.epoch for e in listener.of(name) if isinstance(e, TrialBegun)] == [0, 2]
    assert listener.bits("c") == expected.bits("c")


def test_what_fails_while_some_are_scored_fails_no_other(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = {name: make_config(epochs=num, seed=num) for name, num in (("a", 1), ("b", 3))}
    evaluate = FusedLearner.evaluate

    def fail_once(learner: FusedLearner, split: str, **options: Any) -> list[Score]:
        if split == "test" and learner.members[0].config.epochs == 1:
            raise RuntimeError("no kernel")
        return evaluate(learner, split, **options)

    monkeypatch.setattr(FusedLearner, "evaluate", fail_once)
    listener = run_together(assign(trials), digits)
    assert "no kernel" in failure(listener, "a").message
    success(listener, "b")


def test_what_one_members_loss_raises_fails_that_one_only(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        raise IndexError(f"no {reduction} of {len(outputs)} and {len(targets)}")

    def build(_: str) -> Loss:
        return refuse

    monkeypatch.setattr("workers.losses.LOSSES", {**LOSSES, "mean_absolute_error": build})
    losses = ["cross_entropy", "mean_squared_error", "mean_absolute_error", "hinge"]
    trials = {loss: make_config(loss=loss) for loss in losses}
    listener = run_together(assign(trials), digits)
    assert failure(listener, "mean_absolute_error").type == "IndexError"
    for loss in set(losses) - {"mean_absolute_error"}:
        success(listener, loss)


def test_checkpoints_are_as_the_policy_of_each_says(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    a, b = in_folders(assign({"a": make_config(), "b": make_config(seed=1)}), tmp_path)
    b = dataclasses.replace(b, checkpoints=CheckpointPolicy(9, ()))
    listener = run_together([a, b], digits)
    saved = [event for event in listener.events if isinstance(event, CheckpointSaved)]
    assert {event.trial_id for event in saved} == {"a"}
    contents = load(Path(saved[-1].path), sha256=saved[-1].sha256)
    assert contents["model"]["0.weight"].is_contiguous()


def test_a_pack_that_has_ended_holds_no_memory(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even until the garbage collector comes: on a GPU the next pack needs the room at once.
    built = list[weakref.ref[nn.Module]]()

    def remember(*arguments: Any, **options: Any) -> nn.Module:
        module = fuse(*arguments, **options)
        built.append(weakref.ref(module))
        return module

    monkeypatch.setattr("workers.fusion.fused_learner.fuse", remember)
    gc.disable()
    try:
        for epochs in (1, 2), (1, 1):  # one of the first pack leaves, the others end together
            trials = {name: make_config(epochs=num) for name, num in zip("ab", epochs, strict=True)}
            run_together(assign(trials), digits)
        assert len(built) == 4  # the two packs, who ended first, and who went on
        assert [module() for module in built] == [None] * 4
    finally:
        gc.enable()


def test_thirty_seeds_end_at_the_accuracies_of_the_plain_loop(
    make_config: MakeConfig, digits: StagedData
) -> None:
    trials = {
        str(seed): make_config(layers=convnet(), seed=seed, epochs=8, select="last")
        for seed in range(30)
    }
    together, alone = run_together(assign(trials), digits), Listener()
    run_pack(assign(trials), digits, alone)
    fused, plain = (
        [success(listener, name).metrics["test/accuracy"] for name in trials]
        for listener in (together, alone)
    )
    spread = summarise(plain).std
    found = summarise([one - other for one, other in zip(fused, plain, strict=True)])
    print(found, "the seeds themselves:", summarise(plain))
    assert spread is not None
    assert spread > 0.01  # seeds do differ
    assert abs(found.mean) < spread / 10
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0 <= found.high
