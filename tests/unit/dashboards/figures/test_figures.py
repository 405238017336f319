"""What holds of every figure: numbers as given, names as text, both drawers draw it."""

import io
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from dashboards.figures.chart import Chart, Gallery, Line, Points
from dashboards.figures.comparison_figures import (
    interaction_chart,
    leaderboard_chart,
    main_effects_chart,
    shares_chart,
)
from dashboards.figures.confusion_figure import confusion_chart
from dashboards.figures.cost_figures import cost_chart, with_speed
from dashboards.figures.curve_figures import batch_loss_chart, curves_chart, trial_chart
from dashboards.figures.figure_page import figure_html, page_script, page_style
from dashboards.figures.matplotlib_drawing import chart_picture, gallery_picture
from dashboards.figures.palette import dark_colours, in_dark
from dashboards.figures.parallel_figure import parallel_chart
from dashboards.figures.plotly_drawing import plotly_drawing
from dashboards.figures.portrait_figures import portrait_galleries
from dashboards.figures.rate_figure import rate_chart
from experiments.comparison.leaderboard import Outcome, rank
from experiments.records import Objective
from orchestrator.store.rows import Confusion
from workers.portrait_records import (
    FeatureMaps,
    Filters,
    LayerMaps,
    Portrait,
    Reconstruction,
    Segmentation,
    WrongAnswer,
)

NAMES = ("net <b>bold</b> & co", "_$x^2$ $\\alpha$ 🙂", "%{x}<script>alert(1)</script>" + "y" * 90)
JUDGED: dict[str, Any] = {"objective": "val/accuracy", "goal": "maximize"}


def _trials(*, models: tuple[str, ...] = NAMES, seeds: int = 2) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for m, model in enumerate(models):
        for lr in (0.01, 0.1):
            for seed in range(seeds):
                rows.append(
                    {
                        "trial": f"t{len(rows)}",
                        "variant": f"{model} lr={lr}",
                        "seed": seed,
                        "state": "succeeded",
                        "model": model,
                        "lr": lr,
                        "batch_size": 16 * 2**m,
                        "val/accuracy": 0.7 + 0.1 * m + lr + 0.01 * seed,
                        "val/loss": 1.0 / (1 + m) + lr + 0.01 * seed,
                        "parameters": 1000 * (m + 1),
                        "multiply_adds": 10_000 * 4**m,
                    }
                )
    return pd.DataFrame(rows)


def _curves(trials: pd.DataFrame, *, epochs: int = 8) -> pd.DataFrame:
    rows = []
    for i, trial in enumerate(trials["trial"]):
        for epoch in range(1, epochs + 1):
            common = {"trial": trial, "epoch": epoch, "step": 10 * epoch}
            for metric, value in (
                ("val/loss", 1.0 / epoch + 0.01 * i),
                ("train/loss", 0.9 / epoch),
                ("train/batch_loss", 2.0 / epoch + 0.01 * i),
                ("images_per_second", 1000.0 * (i + 1)),
            ):
                rows.append({**common, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def _charts(names: tuple[str, ...] = NAMES) -> list[Chart]:
    trials = _trials(models=names)
    curves = _curves(trials)
    outcomes = [
        Outcome(row["variant"], {}, int(row["seed"]), {"val/accuracy": row["val/accuracy"]})
        for row in trials.to_dict("records")
    ]
    asked: dict[str, Any] = {"metric": "val/accuracy", "goal": "maximize"}
    made = [
        leaderboard_chart(rank(outcomes, Objective()), Objective()),
        curves_chart(trials, curves, metric="val/loss", **JUDGED),
        batch_loss_chart(trials, curves, **JUDGED),
        trial_chart(curves, trial="t0", metrics=("train/loss", "val/loss")),
        rate_chart(trials, metric="val/loss", **JUDGED),
        cost_chart(trials, cost="multiply_adds", **asked),
        cost_chart(with_speed(trials, curves), cost="images_per_second", **asked),
        cost_chart(trials, cost="batch_size", **asked),
        main_effects_chart(trials, factors=["model", "lr"], **asked),
        interaction_chart(trials, rows="model", columns="lr", **asked),
        shares_chart(dict.fromkeys(names, 0.3), metric="val/accuracy", method="By hand."),
        parallel_chart(trials, factors=["model", "lr"], **asked),
        confusion_chart(Confusion(names, tuple((3, 1, 0) for _ in names)), of=names[0]),
    ]
    assert all(made)
    return [chart for chart in made if chart]


def _portrait(names: tuple[str, ...] = NAMES) -> Portrait:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4
    mask = np.zeros((8, 8), np.uint8)
    maps = LayerMaps(names[0], (2, 8, 8), np.stack([mask, mask + 200]), -1.0, 2.0)
    vector = LayerMaps("2 linear", (40,), np.zeros((1, 1, 40), np.uint8), 0.0, 1.0)
    return Portrait(
        task="classification",
        data="digits",
        model=names[0],
        class_names=names,
        target_names=(),
        num_examples=20,
        num_shown=10,
        num_failures=3,
        failures=(WrongAnswer(4, image, (), names[0], names[2], 0.75, 2.5),),
        filters=Filters(names[1], 4, np.stack([image, image])),
        feature_maps=FeatureMaps(1, image, (maps, vector)),
        reconstructions=(Reconstruction(2, image, image, 20.0),),
        segmentations=(Segmentation(3, image, mask, mask + 1, 0.25),),
    )


CHARTS = _charts()
GALLERIES = portrait_galleries(_portrait())
_chart = pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
_gallery = pytest.mark.parametrize("gallery", GALLERIES, ids=lambda gallery: gallery.name)


@_chart
def test_chart_says_what_it_shows(chart: Chart) -> None:
    assert chart.title
    assert chart.description.endswith(".")
    assert chart.x.title or chart.x.ticks
    assert chart.y.title or chart.y.ticks or not chart.y.shown
    assert chart.table.rows
    assert {len(row) for row in chart.table.rows} == {len(chart.table.columns)}


@_chart
def test_plotly_takes_the_drawing_and_draws_svg_only(chart: Chart) -> None:
    drawing = plotly_drawing(chart)

    go.Figure(drawing)  # raises ValueError for what the schema does not know
    go.Figure(in_dark(drawing))
    json.dumps(drawing, allow_nan=False)
    assert {trace["type"] for trace in drawing["data"]} <= {"scatter", "bar", "heatmap"}


@_chart
def test_drawing_holds_names_as_text(chart: Chart) -> None:
    """Of markup only our own line breaks; `%{` in no template."""
    texts = list(_texts(plotly_drawing(chart)))
    told = [text.replace("<br>", "") for text in texts]

    assert not [text for text in told if "<" in text or ">" in text]
    assert {t["texttemplate"] for t in plotly_drawing(chart)["data"] if "texttemplate" in t} <= {
        "%{text}"
    }
    assert not [t for t in plotly_drawing(chart)["data"] if "hovertemplate" in t]


def _texts(part: Any) -> Any:
    if isinstance(part, dict):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, str):
        yield part


@_chart
def test_page_holds_names_as_text(chart: Chart) -> None:
    page = figure_html(chart)

    assert "<script>alert" not in page
    assert "<b>bold" not in page
    assert page.count("</script>") == 1


@_chart
def test_picture_is_a_png(chart: Chart) -> None:
    with Image.open(io.BytesIO(chart_picture(chart))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 500


def test_formula_in_a_name_is_drawn_as_its_signs() -> None:
    chart = curves_chart(*_one("a $x^2$ b"), metric="val/loss", **JUDGED)
    assert chart is not None

    picture = chart_picture(chart, file_format="svg").decode()

    assert "<!-- a $x^2$ b lr=0.01 -->" in picture


def test_name_with_underscore_stands_in_the_legend() -> None:
    chart = curves_chart(*_one("_hidden"), metric="val/loss", **JUDGED)
    assert chart is not None

    assert "_hidden lr=0.01 -->" in chart_picture(chart, file_format="svg").decode()


def _one(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials = _trials(models=(name,))
    return trials, _curves(trials)


def test_same_chart_gives_the_same_picture() -> None:
    assert chart_picture(CHARTS[1]) == chart_picture(CHARTS[1])


@_gallery
def test_gallery_is_drawn_and_described(gallery: Gallery) -> None:
    page = figure_html(gallery)

    assert gallery.table.rows
    assert "<b>bold" not in page
    assert "<script>" not in page
    num_images = sum(len(tile.images) for shelf in gallery.shelves for tile in shelf.tiles)
    assert page.count("src='data:image/png;base64,") == num_images
    with Image.open(io.BytesIO(gallery_picture(gallery))) as picture:
        assert picture.format == "PNG"


def test_portrait_gives_every_gallery_it_has_something_for() -> None:
    assert [gallery.name for gallery in GALLERIES] == [
        "failures",
        "segmentations",
        "reconstructions",
        "filters",
        "feature-maps",
    ]
    empty = Portrait("regression", "sun", "linear", (), ("t",), 5, 5)
    assert portrait_galleries(empty) == ()


def test_table_of_curves_has_the_numbers_drawn_and_given() -> None:
    trials, curves = _one("net")

    chart = curves_chart(trials, curves, metric="val/loss", **JUDGED)

    assert chart is not None
    drawn = [m for m in chart.marks if isinstance(m, Line) and m.style == "series"]
    assert [m.name for m in drawn] == ["net lr=0.1", "net lr=0.01"]
    seeds = curves[(curves["metric"] == "val/loss") & curves["trial"].isin(["t2", "t3"])]
    means = seeds.groupby("epoch")["value"].mean()
    assert drawn[0].y == pytest.approx(means.tolist())
    assert [row[2] for row in chart.table.rows[:8]] == pytest.approx(means.tolist(), rel=1e-4)
    assert {row[5] for row in chart.table.rows} == {2}


def test_mean_ends_where_the_first_trial_ends() -> None:
    trials, curves = _one("net")
    shorter = curves[(curves["trial"] != "t2") | (curves["epoch"] <= 5)]

    chart = curves_chart(trials, shorter, metric="val/loss", **JUDGED)

    assert chart is not None
    lines = {m.name: m.x for m in chart.marks if isinstance(m, Line) and m.name}
    assert lines["net lr=0.1"][-1] == 5
    assert lines["net lr=0.01"][-1] == 8


def test_seven_variants_leave_one_faint_and_say_so() -> None:
    trials = _trials(models=("a", "b", "c", "d"))
    chart = curves_chart(trials, _curves(trials), metric="val/loss", **JUDGED)

    assert chart is not None
    series = [m for m in chart.marks if isinstance(m, Line) and m.style == "series"]
    assert len(series) == 6
    assert "Thin grey lines are the means of the 2 other variants." in chart.note


def test_one_seed_is_said() -> None:
    trials = _trials(models=("net",), seeds=1)
    chart = curves_chart(trials, _curves(trials), metric="val/loss", **JUDGED)

    assert chart is not None
    assert "n = 1" in chart.note
    assert not any(isinstance(m, Line) and m.low for m in chart.marks)


def test_rates_count_the_trials_without_a_number() -> None:
    trials = _trials(models=("net",))
    trials.loc[trials["trial"] == "t3", "val/loss"] = math.inf

    chart = rate_chart(trials, metric="val/loss", **JUDGED)

    assert chart is not None
    assert chart.x.scale == "log"
    assert [(row[1], row[5], row[6]) for row in chart.table.rows] == [(0.01, 2, 0), (0.1, 1, 1)]
    assert "1 trial gave no number" in chart.note


def test_cost_chart_draws_means_and_front() -> None:
    chart = cost_chart(
        _trials(models=("small", "large")),
        cost="multiply_adds",
        metric="val/accuracy",
        goal="maximize",
    )

    assert chart is not None
    front = next(m for m in chart.marks if isinstance(m, Line))
    assert list(front.x) == [10_000, 40_000]
    assert list(front.y) == pytest.approx([0.805, 0.905])
    bubbles = [m for m in chart.marks if isinstance(m, Points)]
    assert [m.name for m in bubbles] == ["large", "small"]
    assert bubbles[0].weights == (2000, 2000)


def test_nothing_to_show_gives_no_chart() -> None:
    trials = _trials().assign(**{"val/accuracy": math.nan, "val/loss": math.nan})
    none = _curves(trials).iloc[:0]
    asked: dict[str, Any] = {"metric": "val/accuracy", "goal": "maximize"}

    assert leaderboard_chart([], Objective()) is None
    assert curves_chart(trials, none, metric="val/loss", **JUDGED) is None
    assert batch_loss_chart(trials, none, **JUDGED) is None
    assert trial_chart(none, trial="t0", metrics=("val/loss",)) is None
    assert rate_chart(trials, metric="val/loss", **JUDGED) is None
    assert cost_chart(trials, cost="multiply_adds", **asked) is None
    assert cost_chart(trials, cost="unheard_of", **asked) is None
    assert main_effects_chart(trials, factors=["model"], **asked) is None
    assert interaction_chart(trials, rows="model", columns="lr", **asked) is None
    assert shares_chart({"lr": math.nan}, metric="val/accuracy", method="") is None
    assert parallel_chart(trials, factors=["model"], **asked) is None
    assert confusion_chart(Confusion(("a", "b"), ((0, 0), (0, 0)))) is None


def test_confusion_names_what_is_mixed_up_most() -> None:
    chart = confusion_chart(Confusion(("cat", "dog"), ((8, 2), (1, 9))))

    assert chart is not None
    assert "17 of 20 answers are right (0.8500)" in chart.description
    assert "cat for dog (2)" in chart.description
    assert ("cat", "dog", 2, 0.2) in chart.table.rows


def test_dark_theme_changes_colours_and_no_text() -> None:
    light = plotly_drawing(CHARTS[0])
    named = {"text": light["layout"]["font"]["color"], "color": light["layout"]["font"]["color"]}

    assert in_dark(named) == {"text": named["text"], "color": dark_colours()[named["color"]]}


def test_page_parts_ask_for_nothing_from_outside() -> None:
    figures: list[Chart | Gallery] = [*CHARTS, *GALLERIES]
    whole = page_script() + page_style() + "".join(figure_html(each) for each in figures)

    assert "http:" not in whole
    assert "https:" not in whole
