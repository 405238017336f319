"""What a spec, a folder of images or a failing trial says must never steer a terminal or a program.

Payloads stand in every name that can come from outside, in a store that was filled without the
checks of specs; then every verb is asked in every form. What a password is, nobody is shown.
"""

import ast
import csv
import dataclasses
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from dashboards.progress import ProgressLog, ProgressView
from experiments.events import CheckpointSaved, Failure
from experiments.language.printable import printable
from experiments.records import InitConfig, TrialConfig
from experiments.states import FailureKind, IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling import service
from orchestrator.store.database import open_store
from tests.samples import an_experiment, claim, points_of, some_trials, success_of
from trainyard import workplace
from trainyard.command.main import run

PAYLOADS: Final = {
    "csi": "a\x1b[2J\x1b[31mred",
    "osc8": "b\x1b]8;;http://evil/\x1b\\here\x1b]8;;\x1b\\",
    "title": "c\x1b]0;owned\x07",
    "c1": "d\x9b31m\x90q\x9c",
    "bidi": "e\u202egnp.exe",
    "isolate": "f\u2066x\u2069\u200e\u061c",
    "invisible": "g\u200b\ufeff\U000e0041",
    "return": "h: failed\rh: good",
    "backspace": "i wrong\b\b\b\b\bright",
    "lines": "j\nexp9  finished\x0b\x0c\x85\u2028\u2029k",
    "markup": "k[red]x[/red][/bold][link=http://evil]y[/link]",
    "emoji": "l:skull:",
    "formula": '=HYPERLINK("http://evil")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(A1:A9)",
    "tab": "\t=1+1",
    "space": " =1+1",
    "json": 'm"}], "schema_version": 9, "x": ["\\',
    "sql": "n'); DROP TABLE trial; --%_",
    "html": "o</script><img src=x onerror=alert(1)>",
}
"""Each begins with what no other one does, so that it is found by its beginning."""

_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
PASSWORD: Final = "s3same/open"
ENCODED: Final = "s3same%2Fopen"


def unsafe(text: str) -> list[str]:
    """Give the characters of a text that a terminal would obey, or not show."""
    return sorted({c for c in text if c != "\n" and unicodedata.category(c) in _STEERING}, key=ord)


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store has every payload in every name."""
    home = tmp_path_factory.mktemp("hostile") / "home"
    home.mkdir(mode=0o700)
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=True)
    for number, payload in enumerate(PAYLOADS.values()):
        fill(Queue(engine, orchestrator=f"o{number}"), Results(engine), payload, f"exp{number}")
    engine.dispose()
    return home


def fill(queue: Queue, results: Results, payload: str, experiment_id: str) -> None:
    """Submit an experiment that says a payload wherever it can; its trials end well, badly, not."""
    queue.enter(host=payload, process="1:2")
    experiment = dataclasses.replace(
        an_experiment(experiment_id, name=payload), tags={"note": payload, payload: "x"}
    )
    trials = [
        dataclasses.replace(
            trial, variant=f"{payload}{trial.number}", params={"model": payload, "lr": 0.1},
            config=says(trial.config, payload),
        )
        for trial in some_trials(3, of=experiment_id)
    ]  # fmt: skip
    queue.submit(experiment, trials, class_names=(payload, f"{payload}2"), git_commit=payload)
    good, bad = (claim(queue, worker=payload)[0].lease for _ in range(2))
    results.record([
        (good, points_of(good.trial_id, 0.5, 0.25)),
        (good, CheckpointSaved(good.trial_id, "best", 2, 20, f"/{payload}.pt", "a" * 64, 3)),
    ])  # fmt: skip
    queue.succeed(good, success_of(good.trial_id), machine=payload)
    queue.pause(trial_id=trials[2].id)
    queue.fail(bad, Failure(FailureKind.NOT_FINITE, payload, payload, f"Traceback\n{payload}"))
    for trial_id in (None, good.trial_id):
        queue.note(
            IncidentKind.WORKER_LOST, payload, experiment_id=experiment_id, trial_id=trial_id
        )


def says(config: TrialConfig, payload: str) -> TrialConfig:
    """Put a payload into the names that a trial's configuration has."""
    return dataclasses.replace(
        config,
        architecture=dataclasses.replace(config.architecture, name=payload),
        data=dataclasses.replace(config.data, name=payload),
        init=InitConfig(payload, "a" * 64, payload, num_layers=1, num_frozen=1),
    )


@pytest.fixture
def hostile(
    hostile_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> "Hostile":
    monkeypatch.setenv("TRAINYARD_HOME", str(hostile_home))
    return Hostile(capfd)


class Hostile:
    """Runs verbs in this process, and gives what they print."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def ask(self, *arguments: str, code: int = 0) -> str:
        """Run a verb that must end with a code; give its stdout, after a look at both streams."""
        ended = run(arguments)
        out, err = self.look(arguments)
        assert ended == code, (arguments, err)
        return out

    def look(self, what: Sequence[str]) -> tuple[str, str]:
        """Give what was printed since the last look, after a check of it."""
        out, err = self._capfd.readouterr()
        assert unsafe(out) == unsafe(err) == [], (what, out, err)
        assert "internal error" not in err, err
        return out, err


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_no_name_steers_a_terminal_or_a_spreadsheet(hostile: Hostile, payload: str) -> None:
    # Found by the very name: no SQL and no pattern in it is obeyed.
    (trial, *_) = json.loads(hostile.ask("trials", "--json", "--", payload))["trials"]
    assert (trial["params"]["model"], trial["variant"]) == (payload, f"{payload}1")
    for verb in ("status", "trials", "leaderboard"):
        hostile.ask(verb, "--", payload)
        document = json.loads(hostile.ask(verb, "--json", "--", payload))
        assert document["schema_version"] == 1
        assert any(payload in text for text in strings(document))
    for words in (["trials", "--csv"], ["curves"]):
        for row in csv.reader(io.StringIO(hostile.ask(*words, "--", payload))):
            assert [cell for cell in row if is_formula(cell)] == []
    shown = json.loads(hostile.ask("show", "--json", trial["id"]))
    assert shown["attempts"][0]["worker"] == payload
    assert shown["incidents"][0]["message"] == printable(payload, keep="\n")
    hostile.ask("show", trial["id"])
    hostile.ask("show", trial["id"].replace("0001", "0002"))


def test_all_experiments_at_once_are_shown_and_none_of_them_styles_another(
    hostile: Hostile,
) -> None:
    text = hostile.ask("status")
    for literal in (PAYLOADS["markup"][:20], PAYLOADS["emoji"], PAYLOADS["formula"]):
        assert literal in text
    document = json.loads(hostile.ask("status", "--json"))
    assert len(document["experiments"]) == len(PAYLOADS)
    assert len(document["orchestrators"]) == len(PAYLOADS)
    for arguments in (["gc", "--dry-run"], ["gc", "--json"]):
        hostile.ask(*arguments)
    for arguments in (["doctor"], ["doctor", "--json"]):
        assert run(arguments) in (0, 1)  # its orchestrators are taken for dead after a minute
        hostile.look(arguments)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_no_argument_steers_the_terminal_of_whoever_gave_it(hostile: Hostile, payload: str) -> None:
    absent = f"{payload}-absent"
    for verb in ("status", "trials", "show", "curves", "leaderboard", "watch"):
        hostile.ask(verb, "--", absent, code=5)
    for verb in ("cancel", "retry", "pause", "resume"):
        hostile.ask(verb, "--", absent, code=5)
    hostile.ask("plan", "--", absent.replace("\n", ""), code=5)
    hostile.ask("status", f"--{payload}", code=2)
    hostile.ask(f"x{payload}", code=2)


def strings(value: object) -> Iterator[str]:
    """Give every text within a JSON document, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def is_formula(cell: str) -> bool:
    """Say whether a spreadsheet would compute a cell; a number is no formula."""
    if not cell.lstrip().startswith(("=", "+", "-", "@")) and not cell.startswith(("\t", "\r")):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def test_a_live_view_draws_no_name_as_a_command(
    hostile_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_store(f"sqlite:///{hostile_home / 'trainyard.db'}", create=False)
    overviews = Results(engine).overviews()
    engine.dispose()
    log = ProgressLog()
    log.show(overviews)
    assert unsafe(capsys.readouterr().err) == []
    screen = Console(file=io.StringIO(), force_terminal=True, width=400, color_system=None)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("dashboards.progress.console", lambda **_: screen)
    for overview in overviews:
        with ProgressView() as view:
            view.show(overview)
    drawn = screen.file.getvalue()  # type: ignore[attr-defined]
    ours = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", drawn)  # what draws the bar
    assert unsafe(ours) == []
    assert "\x1b[2J" not in drawn
    assert PAYLOADS["emoji"] in drawn


IMAGE_NAMES: Final = {
    name: payload.replace("/", "_").replace("\0", "_") for name, payload in PAYLOADS.items()
}


@pytest.mark.parametrize("payload", IMAGE_NAMES.values(), ids=IMAGE_NAMES)
def test_a_folder_of_images_with_hostile_names_steers_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    payload: str,
) -> None:
    from PIL import Image

    monkeypatch.setenv("TRAINYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRAINYARD_DATA", str(tmp_path / "data"))
    for split in ("train", "test"):
        for number, kind in enumerate((payload, "other")):
            folder = tmp_path / "data" / "photos" / split / kind
            folder.mkdir(parents=True)
            for each in range(4):
                name = f"{payload}{each}.png"
                Image.new("L", (8, 8), 100 * number + each).save(folder / name)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: photos\ndata: {name: image_folder, path: photos, val_fraction: 0.5}\n"
        "parameters: {model: softmax_regression, lr: 0.1, batch_size: 2}\n"
    )
    asked = Hostile(capfd)
    assert printable(payload).strip() in asked.ask("plan", str(spec))
    for arguments in (["plan", "--layers"], ["plan", "--json"], ["submit"]):
        asked.ask(*arguments, str(spec))
    (tmp_path / "data" / "photos" / "test" / "other").rename(
        tmp_path / "data" / "photos" / "test" / f"{payload}3"
    )
    asked.ask("plan", str(spec), code=3)


FIELDS: Final = (
    "name: {}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\ntags: {{{}: x}}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\ntags: {{x: {}}}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\ndescription: {}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\nparameters: {{model: {}, lr: 1}}\n",
    "name: t\nparameters: {{model: {{name: x, layers: [{}]}}, lr: 1}}\n",
    "name: t\nparameters: {{model: {{name: {}, layers: [flatten, {{linear: classes}}]}}, lr: 1}}\n",
    "name: t\nparameters: {{model: mlp, lr: 1, loss: {}}}\n",
    "name: t\nparameters: {{model: mlp, lr: 1}}\ninclude: [{{model: mlp, lr: 2, label: {}}}]\n",
    "name: t\nparameters: {{model: mlp, lr: 1, init: {{from: {}}}}}\n",
    "name: t\ndata: {{name: {}}}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\ndata: {{name: image_folder, path: {}}}\nparameters: {{model: mlp, lr: 1}}\n",
    "name: t\nobjective: {{metric: {}}}\nparameters: {{model: mlp, lr: 1}}\n",
    "{}: 1\nname: t\nparameters: {{model: mlp, lr: 1}}\n",
)


@pytest.mark.parametrize("field", FIELDS)
def test_a_spec_steers_nothing_whatever_its_fields_say(
    hostile: Hostile, tmp_path: Path, field: str
) -> None:
    spec = tmp_path / "spec.yaml"
    for payload in PAYLOADS.values():
        spec.write_text(field.format(json.dumps(payload)))
        ended = run(["plan", str(spec)])
        hostile.look(("plan", spec.read_text()))
        assert ended in (0, 3)


@pytest.mark.parametrize("path", ["..", "../outside", "/etc", "link", "photos/../../outside", "~"])
@pytest.mark.parametrize(
    "field",
    [
        "data: {{name: image_folder, path: {!r}}}\nparameters: {{model: mlp, lr: 1}}\n",
        "parameters: {{model: mlp, lr: 1, init: {{from: {!r}}}}}\n",
        "parameters: {{model: {!r}, lr: 1}}\n",
        "data: {{name: {!r}}}\nparameters: {{model: mlp, lr: 1}}\n",
    ],
    ids=["images", "weights", "model", "data"],
)
def test_no_spec_leads_out_of_its_root(
    trainyard_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, path: str
) -> None:
    for split in ("train", "test"):
        (tmp_path / "outside" / split / "cat").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "outside")
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: t\n" + field.format(path))
    assert run(["submit", str(spec)]) == 3, capsys.readouterr().err
    assert not trainyard_home.exists()


@pytest.fixture
def trainyard_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRAINYARD_DATA", str(tmp_path / "data"))
    return tmp_path / "home"


VERBS: Final = (
    ["plan", "SPEC"], ["submit", "SPEC"], ["run", "SPEC"], ["up", "--until-idle"], ["status"],
    ["watch", "one"], ["trials", "one"], ["curves", "one"], ["show", "one"], ["leaderboard", "one"],
    ["cancel", "one"], ["pause", "one"], ["resume", "one"], ["retry", "one"], ["doctor"],
    ["doctor", "--json"], ["gc"], ["db", "upgrade"], ["db", "backup", "copy.db"], ["mlflow"],
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize(
    "database",
    [
        f"postgresql://me:{ENCODED}@127.0.0.1:1/none",
        f"postgresql://127.0.0.1:1/none?user=me&password={ENCODED}",
        f"postgresql://me:{ENCODED}@127.0.0.1:port/none",
        f"mysql://me:{ENCODED}@127.0.0.1/none",
    ],
    ids=["userinfo", "query", "bad port", "other"],
)
def test_no_verb_shows_a_password(
    trainyard_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verb: list[str],
    database: str,
) -> None:
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{ENCODED}@127.0.0.1:1/")
    for module in (workplace, service):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    spec = tmp_path / "one.yaml"
    spec.write_text("name: one\nparameters: {model: mlp, lr: 0.1}\n")
    ended = run([str(spec) if word == "SPEC" else word for word in verb])
    said = "".join(capfd.readouterr())
    assert ended == {"plan": 0, "mlflow": 0, "doctor": 1}.get(verb[0], 6), said
    assert PASSWORD not in said
    assert ENCODED not in said
    assert "s3same" not in said
    logs = trainyard_home.rglob("*.log")
    assert all("s3same" not in log.read_text(errors="replace") for log in logs)


CODE_READERS: Final = frozenset(
    {"eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "joblib.load"}
    | {"yaml.unsafe_load", "yaml.full_load", "marshal.loads", "dill.load", "dill.loads"}
)


def test_weights_and_arrays_are_never_read_as_code(repository: Path) -> None:
    folders = ("experiments", "workers", "orchestrator", "dashboards", "trainyard")
    files = [path for folder in folders for path in (repository / folder).rglob("*.py")]
    assert len(files) > 100
    assert {path: found for path in files if (found := reads_code(path.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "from torch import load\nload(f)",
        "import torch as t\nt.load(f, map_location='cpu')",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import pickle\npickle.loads(b)",
        "from pickle import Unpickler\nUnpickler(f).load()",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "eval(text)",
    ],
)
def test_reading_as_code_would_be_found(source: str) -> None:
    assert reads_code(source)


def reads_code(source: str) -> list[str]:
    """Give the calls in a source that could execute what they read, by their true names."""
    tree, names = ast.parse(source), dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, _, rest = ast.unparse(node.func).partition(".")
            said = ".".join(filter(None, (names.get(head, head), rest)))
            options = {each.arg: ast.unparse(each.value) for each in node.keywords}
            is_unsafe = {
                "torch.load": options.get("weights_only") != "True",
                "numpy.load": options.get("allow_pickle", "False") != "False",
            }
            if said in CODE_READERS or is_unsafe.get(said, False):
                found.append(said)
    return found
