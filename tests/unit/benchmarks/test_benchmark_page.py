import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.contest import OURS
from benchmarks.page import page
from benchmarks.pictures import Bar, bars
from benchmarks.record import at_least, at_most, measured, read

WHERE = {
    "machine": {"cores": 2, "processor": "Some | CPU", "memory_gib": 7.5, "system": "Linux 6"},
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
}


def times(*values: float) -> dict[str, float | int]:
    return measured(values)


def a_contest() -> dict[str, Any]:
    each = {
        "work_seconds": times(10.0, 12.0),
        "whole_seconds": times(20.0, 22.0),
        "test_accuracy": times(0.9, 0.9),
        "middle_accuracy": times(0.95, 0.96),
        "num_trials": 64,
    }
    ratio = {"work_ratio": times(2.5, 3.0), "whole_ratio": times(1.5, 1.6)}
    return {
        **WHERE,
        "goals": [at_least("work time, times the best peer", 2.0, 2.75)],
        "contestants": {
            OURS: each | {"idle_share": times(0.012)},
            "plain loop": each | ratio,
            "Ray Tune as shipped": each | ratio | {"num_trials": 8, "scaled_from_trials": 8},
        },
    }


def a_gpus(size: str, rate: str, share: str) -> dict[str, Any]:
    way = {"ran": "fused, 512 members, CUDA graph", rate: times(1234.5), share: times(0.5)}
    return {**WHERE, "gpu": {"name": "A GPU"}, size: 1, "ways": {"plain": way}}


def samples() -> dict[str, Any]:
    """Give a result of every benchmark that the page shows."""
    store = {
        "submit_seconds": 1.5,
        "claim_ms": times(5.0, 6.0),
        "finish_64_ms": times(60.0),
        "status_seconds": times(0.7),
    }
    left_out = {"left_out": "no PostgreSQL in /usr/lib"}
    return {
        **dict.fromkeys(("digits_grid", "lenet_mnist", "resnet_cifar"), a_contest()),
        "gpu_lenet": a_gpus("num_train", "trials_per_hour", "times_plain"),
        "gpu_resnet": a_gpus("width", "images_per_second", "share_of_product_rate"),
        "noop": {
            **WHERE,
            "num_trials": {"reporting": 10000, "training": 10000, "Ray Tune": 2000},
            "trials_per_second": {
                "reporting": times(700.0),
                "training": times(90.0),
                "Ray Tune": times(13.0),
            },
            "ratios": {
                "reporting": {"Ray Tune": times(53.8)},
                "training": {"Ray Tune": times(6.9)},
            },
        },
        "metrics": {
            **WHERE,
            "num_points": 1_000_000,
            "num_trials": 100_000,
            "stores": {
                "sqlite": {
                    "points_per_second": 61234,
                    "frame_seconds": times(2.5),
                    "trials_seconds": times(1.5),
                },
                "postgresql": left_out,
            },
        },
        "report": {
            **WHERE,
            "trials": 500,
            "points": 207_500,
            "seconds": times(12.5),
            "megabytes": 5.3,
            "requests": 0,
            "messages": 0,
        },
        "queue": {
            **WHERE,
            "sizes": {
                "1000": {"sqlite": store},
                "100000": {"sqlite": store, "postgresql": left_out},
            },
            "goals": [at_most("seconds of `status` at 100000, sqlite", 1.2, 1.7)],
        },
        "verdicts": {
            **WHERE,
            "without_difference": {"plain": {"grids": 1000, "decided": 0.047, "coverage": 0.953}},
            "winner_called_better_without_difference": {"8 variants": 0.007},
            "something_mattered_without_effect": {"plain": 0.041},
            "power": [{"seeds": 3, "cells": 4, "power": {"0.5": 0.126, "1": 0.323}}],
        },
        "cold_start": {**WHERE, "seconds": {"--help": times(0.08), "status": times(0.7)}},
    }


@pytest.fixture(scope="module")
def written() -> tuple[str, dict[str, str]]:
    """The page on the samples, and its pictures."""
    return page(samples())


def test_committed_page_says_what_the_committed_results_say(repository: Path) -> None:
    text, pictures = page(read())

    assert (repository / "docs" / "benchmarks.md").read_text() == text, "make bench-page"
    there = {path.name for path in (repository / "docs" / "benchmarks").iterdir()}
    assert there == set(pictures)


def test_page_shows_every_benchmark_and_every_picture_that_it_links(
    written: tuple[str, dict[str, str]],
) -> None:
    text, pictures = written

    linked = re.findall(r"\(benchmarks/(\w+\.svg)\)", text)
    assert linked == list(pictures)
    for figure in (
        "2.75 (2.5 to 3, n 2)",
        "8, times scaled up",
        "1.2 %",
        "53.8",
        "61,234",
        "On A GPU.",
        "| plain | 1000 | 4.7 % | 95.3 % |",
        "| 3 | 4 | 12.6 % | 32.3 % |",
    ):
        assert figure in text
    assert "no PostgreSQL in /usr/lib" in text


def test_page_says_of_each_goal_whether_it_was_reached(written: tuple[str, dict[str, str]]) -> None:
    text, _ = written

    assert "| digits_grid | work time, times the best peer | >= 2 | 2.75 | reached |" in text
    assert "| queue | seconds of `status` at 100000, sqlite | <= 1.2 | 1.7 | **missed** |" in text


def test_page_says_why_what_is_missed_is() -> None:
    results = read()
    text, _ = page(results)

    missed = [
        (name, goal["what"])
        for name, document in results.items()
        for goal in document.get("goals", ())
        if not goal["reached"] and f"| {name} | {goal['what']} |" in text
    ]
    assert [miss for miss in missed if f"- {miss[0]}, {miss[1]}: " not in text] == []
    reached = ("digits_grid", "whole time, times the best peer")
    assert reached not in missed
    assert f"- {reached[0]}, {reached[1]}: " not in text


def test_tables_are_as_wide_as_their_heads(written: tuple[str, dict[str, str]]) -> None:
    text, _ = written

    for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_benchmark_that_was_not_run_is_left_out() -> None:
    text, pictures = page({})

    assert "##" not in text.replace("# What", "")
    assert not pictures


@pytest.mark.parametrize("factor", [2.0, 1000.0])
def test_picture_is_an_image_that_is_the_same_every_time(factor: float) -> None:
    shown = [
        Bar("ours & fast", "seconds", times(1.0, 1.5), is_ours=True),
        Bar("peer", "seconds", times(factor, 2 * factor), is_ours=False),
    ]

    first, second = bars(shown), bars(shown)

    assert first == second
    assert ET.fromstring(first).tag.endswith("svg")
    assert "ours &amp; fast" in first
