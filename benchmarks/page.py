"""docs/benchmarks.md, written from `benchmarks/results/*.json` and nothing else.

    python -m benchmarks.page         or `make bench-page`; every `make bench` ends with it

A test holds the committed page to the committed results. Pictures lie in docs/benchmarks/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import OURS
from benchmarks.pictures import Bar, bars
from benchmarks.reasons import REASONS
from benchmarks.record import read

_HEAD: Final = """# What has been measured

<!-- Written by `make bench-page` from benchmarks/results/*.json: measure again instead. -->

`make bench` measures all of this again, `make bench BENCH=name` one of it. Figures are medians,
with the smallest and the largest behind them and n, the number of runs. Ratios are taken run by
run: ours and a peer's, one right after the other.
"""

Document = Mapping[str, Any]


def page(results: Mapping[str, Document]) -> tuple[str, dict[str, str]]:
    """Write up the results, by benchmark; give the page, and its pictures (SVG) by file name.

    A benchmark that has not been run is left out.
    """
    parts, pictures = [_HEAD.strip()], {}
    if rows := list(_goal_rows(results)):
        parts += ["## What was wanted", _table(("benchmark", "figure", "wanted", "seen", ""), rows)]
    if reasons := list(_reasons(results)):
        parts += ["Why figures were missed, by profiles, and what would help:", "\n".join(reasons)]
    for name, (title, intro, write_up) in _SECTIONS.items():
        if name not in results:
            continue
        texts, bars_of = write_up(results[name])
        parts += [f"## {title}", intro]
        if bars_of:
            pictures[f"{name}.svg"] = bars(bars_of)
            parts.append(f"![{title}](benchmarks/{name}.svg)")
        parts += [*texts, _where(results[name])]
    return "\n\n".join(parts) + "\n", pictures


Section = Callable[[Document], tuple[list[str], list[Bar]]]
"""Gives a benchmark's paragraphs and tables, and the bars of its picture."""


def _contest(document: Document) -> tuple[list[str], list[Bar]]:
    contestants = document["contestants"]
    head = (
        "",
        "work, s",
        "times ours",
        "whole command, s",
        "times ours",
        "test accuracy: mean",
        "median",
        "trials",
    )
    rows = [
        (
            label,
            _spread(each["work_seconds"]),
            _spread(each["work_ratio"]) if "work_ratio" in each else "",
            _spread(each["whole_seconds"]),
            _spread(each["whole_ratio"]) if "whole_ratio" in each else "",
            f"{each['test_accuracy']['median']:.3f}",
            f"{each['middle_accuracy']['median']:.3f}",
            _trials(each),
        )
        for label, each in contestants.items()
    ]
    texts = [_table(head, rows)]
    idle = contestants[OURS]["idle_share"]["median"]
    texts.append(f"trainyard's workers trained nothing {100 * idle:.1f} % of the work's time.")
    if "left_out" in (rounded := document.get("bfloat16", {})):
        texts.append(f"bfloat16 is left out: {rounded['left_out']}.")
    elif rounded:
        texts.append(f"In bfloat16 it is {_spread(rounded['times_float32'])} times as fast.")
    return texts, [
        Bar(label, "work, seconds", each["work_seconds"], is_ours=label == OURS)
        for label, each in contestants.items()
    ]


def _trials(contestant: Document) -> str:
    scaled = contestant.get("scaled_from_trials")
    return f"{contestant['num_trials']}" + (", times scaled up" if scaled else "")


def _noop(document: Document) -> tuple[list[str], list[Bar]]:
    rates, ratios = document["trials_per_second"], document["ratios"]
    peers = [label for label in rates if label not in ratios]
    rows = [
        (
            label,
            str(document["num_trials"][label]),
            _spread(rates[label]),
            *(_spread(ratios[label][peer]) if label in ratios else "" for peer in peers),
        )
        for label in rates
    ]
    heads = (f"times {peer}" for peer in peers)
    table = _table(("", "trials", "trials a second", *heads), rows)
    shown = [
        Bar(label, "trials a second", rate, is_ours=label in ratios)
        for label, rate in rates.items()
    ]
    return [table], shown


def _verdicts(document: Document) -> tuple[list[str], list[Bar]]:
    kinds = document["without_difference"]
    wrong = _table(
        ("grids without a difference", "grids", "verdicts of a difference", "coverage"),
        (
            (kind, str(seen["grids"]), _percent(seen["decided"]), _percent(seen["coverage"]))
            for kind, seen in kinds.items()
        ),
    )
    claims = {
        f"the winner of {name} is better than the next": share
        for name, share in document["winner_called_better_without_difference"].items()
    } | {
        f"something mattered ({name})": share
        for name, share in document["something_mattered_without_effect"].items()
    }
    other = _table(
        ("claimed where nothing differs", "share of grids"),
        ((claim, _percent(share)) for claim, share in claims.items()),
    )
    sizes = document["power"]
    head = ("seeds", "matched settings", *(f"{size} std" for size in sizes[0]["power"]))
    power = _table(
        head,
        (
            (str(each["seeds"]), str(each["cells"]), *map(_percent, each["power"].values()))
            for each in sizes
        ),
    )
    said = "How often a difference of so many standard deviations of a trial is told:"
    return [wrong, other, said, power], []


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _metrics(document: Document) -> tuple[list[str], list[Bar]]:
    head = ("store", "points", "points a second in", "seconds to their frame", "trials", "seconds")
    rows = []
    for label, each in document["stores"].items():
        if "left_out" in each:
            rows.append((label, "", "", each["left_out"], "", ""))
        else:
            seconds = _spread(each["frame_seconds"])
            points = f"{document['num_points']:,}"
            trials = f"{document['num_trials']:,}"
            rate, of_trials = f"{each['points_per_second']:,}", _spread(each["trials_seconds"])
            rows.append((label, points, rate, seconds, trials, of_trials))
    return [_table(head, rows)], []


def _report(document: Document) -> tuple[list[str], list[Bar]]:
    head = ("trials", "points", "seconds", "megabytes", "requests", "console")
    row = (
        f"{document['trials']:,}",
        f"{document['points']:,}",
        _spread(document["seconds"]),
        f"{document['megabytes']:.1f}",
        str(document["requests"]),
        str(document["messages"]),
    )
    return [_table(head, [row])], []


def _queue(document: Document) -> tuple[list[str], list[Bar]]:
    head = ("store", "trials", "submit, s", "claim of 64, ms", "64 endings, ms", "`status`, s")
    rows = []
    for size, stores in document["sizes"].items():
        for label, each in stores.items():
            if "left_out" in each:
                rows.append((label, size, each["left_out"], "", "", ""))
                continue
            figures = [_spread(each[key]) for key in ("claim_ms", "finish_64_ms", "status_seconds")]
            rows.append((label, f"{int(size):,}", f"{each['submit_seconds']:.2f}", *figures))
    shown = [
        Bar(f"{label}, {int(size):,} trials", "claim of 64, ms", each["claim_ms"], is_ours=True)
        for size, stores in document["sizes"].items()
        for label, each in stores.items()
        if "claim_ms" in each
    ]
    return [_table(head, sorted(rows, key=lambda row: row[0], reverse=True))], shown


def _fused_equals_plain(document: Document) -> tuple[list[str], list[Bar]]:
    head = ("", "pairs", "equal", "mean difference", "95 % of it", "largest", "spread over seeds")
    rows = [
        (
            name,
            str(each["pairs"]),
            str(each["equal"]),
            f"{each['mean']:.2g}",
            f"{each['low']:.2g} to {each['high']:.2g}",
            f"{each['largest']:.2g}",
            f"{each['spread_of_plain']:.2g}",
        )
        for name, each in document["metrics"].items()
    ]
    return [_table(head, rows)], []


def _cold_start(document: Document) -> tuple[list[str], list[Bar]]:
    seconds = document["seconds"]
    table = _table(
        ("command", "seconds"), [(name, _spread(each)) for name, each in seconds.items()]
    )
    shown = [Bar(name, "seconds", each, is_ours=True) for name, each in seconds.items()]
    return [table], shown


def _gpu_ways(document: Document) -> tuple[list[str], list[Bar]]:
    rate, share = (
        ("trials_per_hour", "times_plain")
        if "num_train" in document
        else ("images_per_second", "share_of_product_rate")
    )
    head = ("", "ran as", rate.replace("_", " "), share.replace("_", " "))
    rows = [
        (name, each["ran"], _spread(each[rate]), _spread(each[share]))
        for name, each in document["ways"].items()
    ]
    return [f"On {document['gpu']['name']}.", _table(head, rows)], []


_SECTIONS: Final[Mapping[str, tuple[str, str, Section]]] = {
    "digits_grid": (
        "64 small networks on digits",
        (
            "The `small` network: ReLU or tanh, four rates, batches of 32 and 64, four seeds, "
            "five epochs. Work is the time from the first trial's start to the last one's end. The "
            "peers are in `benchmarks/peers`; each validates every epoch and tests at the end."
        ),
        _contest,
    ),
    "lenet_mnist": (
        "LeNet-5 on MNIST",
        "ReLU or tanh, three rates, four seeds, one epoch of all of MNIST.",
        _contest,
    ),
    "resnet_cifar": (
        "ResNet-18 and VGG-11 on 32x32 pixels",
        (
            "At a quarter of their width, two rates each, 180 steps. On random images (`fake`) the "
            "accuracy says nothing."
        ),
        _contest,
    ),
    "fused_equals_plain": (
        "Packs learn what trials alone do",
        (
            "The `small` network with ReLU and tanh, 30 seeds each: every trial once in a pack and "
            "once by the reference loop (`strategy: plain`), from the same weights on the same "
            "batches. They differ by rounding, which five epochs let grow."
        ),
        _fused_equals_plain,
    ),
    "gpu_lenet": (
        "512 LeNets on a GPU",
        (
            "Whole trials in the engine, without queue and store: one epoch of 60,000 made-up "
            "images of 28x28, batches of 64."
        ),
        _gpu_ways,
    ),
    "gpu_resnet": (
        "ResNet-18 on a GPU",
        (
            "Training epochs on made-up images of 3x32x32; the share is of the operations a second "
            "of a large product of bfloat16 matrices."
        ),
        _gpu_ways,
    ),
    "noop": (
        "Trials with nothing to do",
        (
            "`reporting`: the real queue, scheduler and results on durable SQLite, with "
            "processes in Ray's place that report one number a trial. `training`: `trainyard "
            "run` with all that belongs to it, one linear layer on sixteen tiny images. Ray Tune "
            "reuses its actors, and writes a trial's report to three files unless its loggers are "
            "off."
        ),
        _noop,
    ),
    "verdicts": (
        "How often comparisons are wrong",
        (
            "Made-up grids in which nothing differs, of several kinds, and others in which "
            "something does; compared as `trainyard compare` does it. What 5 % ought to be is seen "
            "as 3.6 to 6.4 % in 95 of 100 such counts of 1,000. Where cells have unlike numbers of "
            "seeds, and in analyses of variance of many levels and few seeds, the tests err on the "
            "safe side: false claims are rarer, and intervals wider than they need be."
        ),
        _verdicts,
    ),
    "report": (
        "A report of very many trials",
        (
            "The `small` network on digits, ten epochs, trained for real; `trainyard report` as a "
            "command, and its page in headless Chromium."
        ),
        _report,
    ),
    "metrics": (
        "Curves into the store, and out again; trials as a frame",
        (
            "Through `Results.record`, `trainyard.curves` and `trainyard.trials` (of made-up "
            "results), both databases durable."
        ),
        _metrics,
    ),
    "queue": (
        "The queue at three sizes",
        (
            "`trainyard submit` of a grid, claims of 64 trials and the endings of these, and "
            "`trainyard status`."
        ),
        _queue,
    ),
    "cold_start": (
        "From a cold start",
        "Each command in a process of its own; `run` up to its first trial, and first step.",
        _cold_start,
    ),
}
"""Title, what is said first, and how the rest is written, by benchmark."""


def _goal_rows(results: Mapping[str, Document]) -> Iterable[tuple[str, ...]]:
    for name in _SECTIONS:
        for goal in results.get(name, {}).get("goals", ()):
            reached = "reached" if goal["reached"] else "**missed**"
            yield name, goal["what"], goal["wanted"], f"{goal['seen']:,}", reached


def _reasons(results: Mapping[str, Document]) -> Iterable[str]:
    for name in _SECTIONS:
        for goal in results.get(name, {}).get("goals", ()):
            reason = REASONS.get((name, goal["what"]))
            if reason and not goal["reached"]:
                yield f"- {name}, {goal['what']}: {reason}"


def _where(document: Document) -> str:
    machine, versions = document["machine"], document["versions"]
    on = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']:g} GiB"
    return f"{on}; " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def _spread(figure: Document) -> str:
    """Write a measurement: `1.52 (1.49 to 1.60, n 3)`."""
    median, low, high = (_number(figure[key]) for key in ("median", "min", "max"))
    return f"{median} ({low} to {high}, n {figure['n']})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def write_page(folder: Path) -> None:
    """Write the page and its pictures into a folder of documents."""
    text, pictures = page(read())
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks.md").write_text(text, encoding="utf-8")
    for name, picture in pictures.items():
        (folder / "benchmarks" / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(__file__).resolve().parent.parent / "docs")
