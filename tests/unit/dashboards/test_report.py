"""Reports of experiments that are all right, and of those that are not."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from sqlalchemy import Engine

from dashboards.figures.chart import Table
from dashboards.report.cells import table_texts
from dashboards.report.evidence import Evidence, gather
from dashboards.report.markdown import escaped
from dashboards.report.writing import write_report
from experiments.events import TrialSucceeded
from experiments.records import Execution, Objective, Trial
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from orchestrator.store.tables import metric
from tests.samples import ERROR, an_experiment, claim_one, points_of, some_trials

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
NASTY = "<script>alert(1)</script> =1+1 $x$ `a` |b| \N{PARTY POPPER} \x1b[31m"


@dataclass
class Yard:
    engine: Engine

    @property
    def queue(self) -> Queue:
        return Queue(self.engine)

    @property
    def results(self) -> Results:
        return Results(self.engine)

    def run(
        self,
        values: Mapping[str, Sequence[float | None]],
        *,
        id_: str = "exp1",
        name: str = "grid",
        task: str = "classification",
        objective: Objective | None = None,
        levels: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Give each variant's seeds their objective values; None fails."""
        objective = objective or Objective.of(task)
        seeds = max(map(len, values.values()))
        trials: list[Trial] = []
        for template in some_trials(len(values) * seeds, of=id_, num_seeds=seeds):
            variant = list(values)[int(template.variant[1:]) - 1]
            params = {"model": "tiny", "lr": 0.1, **(levels or {}).get(variant, {})}
            config = replace(template.config, task=task, objective=objective)
            trials.append(replace(template, variant=variant, params=params, config=config))
        execution = Execution(retries=0)
        self.queue.submit(
            an_experiment(id_, name=name, objective=objective, execution=execution), trials
        )
        for trial in trials:
            value = values[trial.variant][trial.seed]
            lease = claim_one(self.queue).lease
            self.results.record([(lease, points_of(trial.id, 1.0, 0.5, metric="val/loss"))])
            if value is None:
                self.queue.fail(lease, ERROR)
                continue
            metrics = {objective.metric: value, objective.metric.replace("val/", "test/"): value}
            self.queue.succeed(lease, TrialSucceeded(trial.id, metrics, 2, 1.5))

    def note(self, trial_id: str, *losses: float) -> None:
        """Have a trial's losses have been others, as a worker would have told them."""
        with self.engine.begin() as connection:
            connection.execute(metric.delete().where(metric.c.trial_id == trial_id))
            rows = [
                {"trial_id": trial_id, "metric": name, "step": 10 * epoch, "epoch": epoch}
                | {"value": loss, "timestamp_ms": 1_700_000_000_000 + epoch, "fence": 1}
                for name in ("train/loss", "val/loss")
                for epoch, loss in enumerate(losses, start=1)
            ]
            connection.execute(metric.insert(), rows)

    def evidence(self) -> Evidence:
        return gather(
            self.results, self.results.experiments(), portray=lambda _: "There are no pictures."
        )


@pytest.fixture
def yard(tmp_path: Path) -> Any:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    yield Yard(engine)
    engine.dispose()


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds of matplotlib where pictures are not the question."""
    monkeypatch.setattr("dashboards.figures.matplotlib_drawing.chart_picture", lambda _: b"PNG")


class Seen(HTMLParser):
    """Notes the elements, the headings and the addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.addresses += [
            address for key in ("src", "href") if (address := given.get(key)) is not None
        ]


def written(yard: Yard, folder: Path) -> tuple[str, str, dict[str, Any]]:
    """Write the report of all; give the page without its scripts, the Markdown, the manifest."""
    folder.mkdir()
    done = write_report(yard.evidence(), folder, version="1.2.3", now=NOW)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(done.files)
    html = (folder / "report.html").read_text()
    shown = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    for data in re.findall(r"class='figure-data'>(.*?)</script>", shown, re.DOTALL):
        json.loads(data)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return shown, (folder / "report.md").read_text(), manifest


GOOD = {"a": (0.90, 0.91, 0.92), "b": (0.80, 0.81, 0.83)}
LEVELS = {"a": {"lr": 0.1}, "b": {"lr": 0.2}}


def test_report_begins_with_three_sentences_and_has_every_chapter(
    yard: Yard, tmp_path: Path
) -> None:
    yard.run(GOOD, levels=LEVELS)
    html, text, manifest = written(yard, tmp_path / "out")
    sentences = yard.evidence().studies[0].findings.answer.sentences
    assert len(sentences) == 3
    assert all(sentence in html for sentence in sentences)
    chapters = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert chapters == ["Answer", "Evidence", "Sick curves", "Method"]
    assert "What lr does" in html
    seen = Seen(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert (seen.tags.count("h1"), seen.tags.count("main"), seen.tags.count("nav")) == (1, 1, 1)
    assert all(address.startswith(("#", "data:")) for address in seen.addresses)
    assert manifest["experiments"][0]["trials"] == {"succeeded": 6}
    assert manifest["experiments"][0]["seeds"] == [0, 1, 2]
    assert manifest["experiments"][0]["data"]["name"] == "digits"
    assert manifest["experiments"][0]["answer"] == list(sentences)


BAD: dict[str, tuple[dict[str, tuple[float | None, ...]], str]] = {
    "all failed": ({"a": (None,), "b": (None,)}, "no answer"),
    "NaN": ({"a": (float("nan"),) * 2, "b": (float("nan"),) * 2}, "no answer"),
    "one seed": ({"a": (0.9,), "b": (0.8,)}, "one seed only"),
    "one variant": ({"a": (0.9, 0.8, 0.7)}, "one variant only"),
    "one trial": ({"a": (0.9,)}, "one variant only"),
    "some failed": ({"a": (0.9, None), "b": (0.8, 0.7)}, "without a number"),
    "all equal": ({"a": (0.5, 0.5, 0.5), "b": (0.5, 0.5, 0.5)}, "all results are equal"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("quick_pictures")
def test_report_says_what_is_wrong_with_the_question(yard: Yard, tmp_path: Path, case: str) -> None:
    values, words = BAD[case]
    yard.run(values, levels=LEVELS)
    html, text, _ = written(yard, tmp_path / "out")
    assert words in html
    assert words in text


@pytest.mark.usefixtures("quick_pictures")
def test_report_before_anything_is_finished_says_so(yard: Yard, tmp_path: Path) -> None:
    yard.queue.submit(an_experiment(), some_trials(4, num_seeds=2))
    html, text, manifest = written(yard, tmp_path / "out")
    assert "There is no answer yet" in html
    assert "There is no answer yet" in text
    assert manifest["experiments"][0]["best_trial"] is None


@pytest.mark.usefixtures("quick_pictures")
def test_report_says_so_where_the_winner_is_sick(yard: Yard, tmp_path: Path) -> None:
    yard.run(GOOD, levels=LEVELS)
    html, text, _ = written(yard, tmp_path / "well")
    assert "own curves have findings" not in html
    for trial in yard.results.trials("exp1"):
        if trial.variant == "a":
            yard.note(trial.id, 2.3, 5.0, 90.0)
    html, text, _ = written(yard, tmp_path / "sick")
    words = "own curves have findings: diverged (3 of 3 trials)"
    assert words in html
    assert words in text


@pytest.mark.usefixtures("quick_pictures")
def test_report_asks_what_the_experiment_asks_and_hashes_its_spec(
    yard: Yard, tmp_path: Path
) -> None:
    plain = {"name": "grid", "description": "Which <rate> is best?"}
    experiment = replace(an_experiment(), spec=plain, text="")
    yard.queue.submit(experiment, some_trials(2, num_seeds=2))
    html, text, manifest = written(yard, tmp_path / "out")
    assert "Which &lt;rate&gt; is best?" in html
    assert "Which \\<rate\\> is best?" in text
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    assert manifest["experiments"][0]["spec_sha256"] == digest


@pytest.mark.parametrize(
    "said",
    [
        "0.9803",
        "-0.5",
        "1. first",
        "12) twelfth",
        "+ 3",
        "- no list",
        "5.",
        "= head",
        "a_b *c* |d|",
    ],
)
def test_markdown_shows_a_text_as_it_is(said: str) -> None:
    shown = re.sub("<[^>]*>", "", MarkdownIt().render(escaped(said)))
    assert unescape(shown).strip() == said


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    rows = ((0.95, 0.05, 1e-7, 3), (0.96481, 0.1, 12.5, None), (0.0, 0.02, float("nan"), 1200))
    texts = table_texts(Table(("accuracy", "lr", "seconds", "n"), rows))
    assert texts == [
        ["0.9500", "0.05", "1e-07", "3"],
        ["0.9648", "0.10", "12.5", ""],
        ["0", "0.02", "", "1,200"],
    ]


@pytest.mark.usefixtures("quick_pictures")
def test_report_of_several_experiments_compares_them(yard: Yard, tmp_path: Path) -> None:
    yard.run(GOOD, levels=LEVELS, name="one")
    yard.run({"a": (0.99, 0.98, 0.99)}, id_="exp2", name="two")
    html, _, manifest = written(yard, tmp_path / "out")
    assert len(Seen(html).ids) == len(set(Seen(html).ids))
    assert "What experiment does" in html
    assert "two: a" in html
    assert "nowhere else" not in html
    assert [each["name"] for each in manifest["experiments"]] == ["one", "two"]


@pytest.mark.usefixtures("quick_pictures")
def test_what_changes_with_the_experiment_alone_is_said_once(yard: Yard, tmp_path: Path) -> None:
    for id_, name, epochs in (("exp1", "short", 5), ("exp2", "long", 10)):
        levels = {key: {**level, "epochs": epochs} for key, level in LEVELS.items()}
        yard.run(GOOD, id_=id_, name=name, levels=levels)
    html, _, _ = written(yard, tmp_path / "out")
    assert "With the experiment changes epochs, too, and nowhere else" in html
    assert "What epochs does" not in html
    assert "What lr does" in html


@pytest.mark.usefixtures("quick_pictures")
def test_report_of_different_tasks_says_that_they_cannot_be_compared(
    yard: Yard, tmp_path: Path
) -> None:
    yard.run(GOOD, levels=LEVELS, name="digits")
    yard.run(
        {"a": (3.0, 4.0), "b": (5.0, 6.0)},
        id_="exp2",
        name="line",
        task="regression",
        levels=LEVELS,
    )
    html, text, _ = written(yard, tmp_path / "out")
    assert len(Seen(html).ids) == len(set(Seen(html).ids))
    words = "the task is not the same: digits (classification), line (regression)"
    assert words in html
    assert "cannot be compared" in text
    assert re.search("digits: a; line: [ab]", html)


@pytest.mark.usefixtures("quick_pictures")
def test_names_are_text_wherever_they_stand(yard: Yard, tmp_path: Path) -> None:
    values = {f"{NASTY} {key}": row for key, row in GOOD.items()}
    levels = {key: {"model": key} for key in values}
    yard.run(values, levels=levels, name=NASTY)
    html, text, _ = written(yard, tmp_path / "out")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\x1b" not in html + text
    assert "\N{PARTY POPPER}" in html
    assert "\\<script\\>" in text
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<script", prose)
    cells = (tmp_path / "out" / "trials.csv").read_text()
    assert "\x1b" not in cells
