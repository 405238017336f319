import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from dashboards.export import FORMATS, write_frames


def a_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": pd.array(["=1+1", "relu \x1b[31m \N{PARTY POPPER}", None], dtype="string"),
            "batch_size": pd.array([32, None, 64], dtype="Int64"),
            "=lr": [0.1 + 0.2, float("nan"), float("inf")],
            "at": pd.to_datetime([0.0, math.nan, 1_700_000_000_123.0], unit="ms", utc=True).as_unit(
                "ms"
            ),
        }
    )


def test_parquet_keeps_every_type(tmp_path: Path) -> None:
    (path,) = write_frames(tmp_path, {"trials": a_frame()}, formats=["parquet"])
    back = pd.read_parquet(path)
    pd.testing.assert_frame_equal(back, a_frame())


def test_csv_steers_neither_terminal_nor_spreadsheet_and_keeps_numbers(tmp_path: Path) -> None:
    (path,) = write_frames(tmp_path, {"trials": a_frame()}, formats=["csv"])
    names, first, second, third = csv.reader(path.read_text().splitlines())
    assert names == ["variant", "batch_size", "'=lr", "at"]
    assert first == ["'=1+1", "32", "0.30000000000000004", "1970-01-01T00:00:00.000Z"]
    assert second == [r"relu \x1b[31m 🎉", "", "", ""]
    assert third == ["", "64", "inf", "2023-11-14T22:13:20.123Z"]


def test_json_is_a_list_of_records(tmp_path: Path) -> None:
    (path,) = write_frames(tmp_path, {"trials": a_frame()}, formats=["json"])
    first, second, third = json.loads(path.read_text())
    assert first == {
        "variant": "=1+1",
        "batch_size": 32,
        "=lr": 0.1 + 0.2,
        "at": "1970-01-01T00:00:00.000Z",
    }
    assert list(second.values())[1:] == [None, None, None]
    assert third["=lr"] is None


@pytest.mark.parametrize("kind", FORMATS)
def test_frame_without_rows_is_a_file_of_its_own(tmp_path: Path, kind: str) -> None:
    (path,) = write_frames(tmp_path, {"curves": a_frame()[:0]}, formats=[kind])
    assert path.name == f"curves.{kind}"
    assert path.stat().st_size > 0
