"""The frames as files: Parquet, CSV and JSON (docs/frames.md says what each can hold)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiments.language.printable import spreadsheet_cell

if TYPE_CHECKING:
    import pandas as pd

FORMATS: Final = ("parquet", "csv", "json")

_ROWS_AT_ONCE: Final = 50_000


def write_frames(
    folder: Path, frames: Mapping[str, "pd.DataFrame"], *, formats: Sequence[str]
) -> tuple[Path, ...]:
    """Write each frame into `folder` in each format, as `NAME.FORMAT`; give the files.

    Parquet keeps every type. CSV has times in ISO 8601, numbers so that reading gives the same
    ones, nothing where a value is missing, and `'` before a text that a spreadsheet would compute.
    JSON is a list of records, null where a value is missing.

    Raises:
        OSError: There is no room or no right to write.
    """
    writers = {"parquet": _write_parquet, "csv": _write_csv, "json": _write_json}
    written = []
    for name, frame in frames.items():
        for kind in formats:
            path = folder / f"{name}.{kind}"
            writers[kind](frame, path)
            written.append(path)
    return tuple(written)


def _write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    frame.to_parquet(path, engine="pyarrow", index=False)


def _write_csv(frame: "pd.DataFrame", path: Path) -> None:
    _as_texts(frame).to_csv(path, index=False, lineterminator="\n")


def _write_json(frame: "pd.DataFrame", path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, record in enumerate(_records(frame)):
            file.write(",\n" if number else "\n")
            json.dump(record, file, ensure_ascii=False, allow_nan=False)
        file.write("\n]\n")


def _as_texts(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Give the frame with its texts as a spreadsheet may read them, and its times as ISO 8601."""
    shown = frame.copy(deep=False)
    for name, column in frame.items():
        if column.dtype == "string":
            cells = {text: spreadsheet_cell(text) for text in column.dropna().unique()}
            if any(text != cell for text, cell in cells.items()):
                shown[name] = column.map(cells).astype("string")
        elif column.dtype.kind == "M":
            shown[name] = _iso(column)
    return shown.rename(columns={name: spreadsheet_cell(str(name)) for name in frame.columns})


def _iso(times: "pd.Series[Any]") -> "pd.Series[Any]":
    """Write times as `2026-11-22T22:37:26.269Z`."""
    import numpy as np
    import pandas as pd

    texts = np.datetime_as_string(times.to_numpy("datetime64[ms]"), unit="ms")
    return pd.Series(texts, index=times.index, dtype="string").where(times.notna()) + "Z"


def _records(frame: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Give the rows as plain values, some at a time; what JSON has no word for is None."""
    import pandas as pd

    names = [str(name) for name in frame.columns]
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[start : start + _ROWS_AT_ONCE]
        columns = []
        for name in part.columns:
            column = part[name]
            plain = _iso(column) if column.dtype.kind == "M" else column
            if plain.dtype.kind == "f":
                plain = plain.where(plain.abs() != float("inf"))
            columns.append(plain.astype(object).where(pd.notna(plain), None).tolist())
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))
