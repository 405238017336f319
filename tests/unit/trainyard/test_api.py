import subprocess
from pathlib import Path

import pytest

import trainyard as ty
from experiments.errors import WaitTimeoutError
from experiments.language.yaml_text import parse
from experiments.states import ExperimentState
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import everything_in, learn_one
from trainyard.git_commit import git_commit

SPEC = "name: one\nparameters: {model: mlp, lr: 0.1}\nseeds: 2\n"

PUBLIC = [
    "IncomparableError",
    "NotFoundError",
    "SpecError",
    "StoreError",
    "TrainyardError",
    "WaitTimeoutError",
    "__version__",
    "attach_report",
    "cancel",
    "compare",
    "curves",
    "diagnose",
    "export",
    "leaderboard",
    "load_model",
    "pause",
    "plan",
    "portrait",
    "promote",
    "report",
    "resume",
    "retry",
    "run",
    "submit",
    "trials",
    "wait",
]


def test_the_public_names_are_these_and_all_exist() -> None:
    assert sorted(ty.__all__) == PUBLIC
    assert all(getattr(ty, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        ty.fly  # noqa: B018 - the access is the test


def test_submit_takes_text_a_path_or_values_and_is_idempotent(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(SPEC)
    values = {"name": "one", "parameters": {"model": "mlp", "lr": 0.1}, "seeds": 2}
    done = [ty.submit(spec) for spec in (SPEC, path, str(path), values)]
    assert [each.new for each in done] == [True, False, False, False]
    assert len({each.experiment_id for each in done}) == 1
    assert (done[0].name, done[0].num_trials) == ("one", 2)
    assert str(home) in done[0].store


def test_a_changed_spec_of_the_same_name_is_another_experiment_and_the_name_means_it(
    home: Path,
) -> None:
    first = ty.submit(SPEC)
    second = ty.submit(SPEC.replace("0.1", "0.2"))
    assert second.new
    assert first.experiment_id != second.experiment_id
    assert list(ty.trials("one")["lr"]) == [0.2, 0.2]
    assert list(ty.trials(first.experiment_id)["lr"]) == [0.1, 0.1]
    assert home.is_dir()


def test_what_is_known_is_used_again_unless_it_is_asked_otherwise(home: Path) -> None:
    ty.submit(SPEC)
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    for _ in range(2):
        learn_one(Queue(engine), Results(engine), 0.75)
    wider = SPEC.replace("one", "two").replace("seeds: 2", "seeds: 3")
    assert (ty.plan(wider).num_reused, ty.plan(wider, reuse=False).num_reused) == (2, 0)
    anew = ty.submit(wider, reuse=False)
    done = ty.submit(wider)
    engine.dispose()

    assert (done.num_reused, anew.num_reused) == (2, 0)
    assert done.experiment_id != anew.experiment_id
    frame = ty.trials(done.experiment_id)
    assert list(frame["state"]) == ["succeeded", "succeeded", "queued"]
    assert list(frame["reused_from"][:2]) == list(ty.trials("one")["trial"])
    assert list(frame["val/accuracy"][:2]) == [0.75, 0.75]
    assert list(ty.trials(anew.experiment_id)["state"]) == ["queued"] * 3


@pytest.mark.parametrize(
    "execution", ["", "execution: {retries: 1}\n", "execution: {reuse: true}\n"]
)
def test_not_to_reuse_is_as_if_the_spec_had_said_so(execution: str) -> None:
    written = SPEC + "execution: {reuse: false}\n"
    asked = ty.plan(SPEC + execution, reuse=False).experiment
    assert asked.execution.reuse is False
    assert asked.spec["execution"]["reuse"] is False
    assert asked.text.endswith("\n# submitted with execution.reuse: false\n")
    assert ty.plan(written, reuse=False).experiment == ty.plan(written).experiment
    if not execution:
        assert asked.id == ty.plan(written).experiment.id
    assert ty.plan(SPEC, reuse=True).experiment == ty.plan(SPEC).experiment


def test_an_experiment_and_a_trial_can_be_steered(home: Path) -> None:
    ty.submit(SPEC)
    (first, second) = ty.trials("one")["trial"]
    assert ty.pause(first).num_queued == 1
    assert (ty.resume(second), ty.resume(first)) == (0, 1)
    assert ty.pause("one").num_queued == 2
    assert ty.wait("one", timeout_seconds=0).state is ExperimentState.PAUSED
    assert ty.resume("one") == 2
    assert ty.cancel("one").num_cancelled == 2
    assert (ty.retry("one", failed_only=True), ty.retry("one")) == (0, 2)
    assert home.is_dir()
    for act in (ty.pause, ty.resume, ty.cancel, ty.retry):
        with pytest.raises(ty.NotFoundError, match="'two' is neither an experiment nor a trial"):
            act("two")


def test_plan_writes_nothing(home: Path) -> None:
    assert len(ty.plan(SPEC).trials) == 2
    assert not home.exists()


@pytest.mark.parametrize("given", ["text", "values"])
def test_a_secret_never_reaches_the_store(home: Path, given: str) -> None:
    text = SPEC + "tags: {team: vision, api_key: s3same}  # mine\n"
    done = ty.submit(text if given == "text" else parse(text, source="t").plain())
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    kept = everything_in(engine)
    engine.dispose()
    assert "s3same" not in repr(kept)
    (row,) = kept["experiment"]
    assert done.experiment_id in row
    assert ("api_key: (redacted)}  # mine" in repr(row)) == (given == "text")
    assert all("s3same" not in path.read_text(errors="replace") for path in home.glob("*.db*"))


def test_wait_ends_when_its_time_is_up(home: Path) -> None:
    ty.submit(SPEC)
    with pytest.raises(WaitTimeoutError, match="one: 2 trials are still open after 0 s"):
        ty.wait("one", timeout_seconds=0)
    assert home.is_dir()


def test_an_unknown_experiment_is_not_found(home: Path) -> None:
    with pytest.raises(ty.NotFoundError, match="no store yet"):
        ty.trials("one")
    ty.submit(SPEC)
    with pytest.raises(ty.NotFoundError, match="two"):
        ty.trials("two")
    assert home.is_dir()


def test_the_commit_is_that_of_the_specs_repository(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    assert git_commit(spec) is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    assert git_commit(spec) is None
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert git_commit(spec) == git("rev-parse", "HEAD")
    spec.write_text(f"{SPEC}# changed\n")
    assert git_commit(spec) == git("rev-parse", "HEAD")  # git does not follow it yet
    git("add", "spec.yaml")
    assert git_commit(spec) == git("rev-parse", "HEAD") + "-dirty"
