"""Tables in narrow terminals: what is left out, and what is never cut."""

import io

import pytest
from rich.console import Console

from dashboards.tables import Column, fitted_table

COLUMNS = [Column("variant", flexible=True), Column(">score"), Column(">spread", drop=1)]


def lines(*rows: list[str], width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(fitted_table(COLUMNS, rows, width=width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_columns_go_before_anything_is_cut() -> None:
    row = ["lenet5 relu lr=0.1", "0.9803", "0.0020"]
    assert lines(row, width=80)[1].split() == [*row[0].split(), "0.9803", "0.0020"]
    assert lines(row, width=31)[1].split() == [*row[0].split(), "0.9803"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_names_lose_their_middles_and_numbers_nothing(width: int) -> None:
    names = [f"{'very long name ' * 20}lr={rate}" for rate in (0.1, 0.2)]
    head, *found = lines(*([name, "0.9803", "0.0020"] for name in names), width=width)
    assert all(len(line) <= width for line in found)
    assert all("0.9803" in line and line.startswith("very long") for line in found)
    assert ["lr=0.1" in found[0], "lr=0.2" in found[1]] == [True, True]
    assert "score" in head


def test_room_is_shared_so_that_short_names_stay_whole() -> None:
    columns = [Column("a", flexible=True), Column("b", flexible=True), Column(">n")]
    stream = io.StringIO()
    table = fitted_table(columns, [["short name", "x" * 90, "3"]], width=60)
    Console(file=stream, width=60).print(table)
    line = stream.getvalue().splitlines()[1].rstrip()
    assert line.startswith("short name")
    assert line.count("x") >= 40
    assert line.endswith("3")
