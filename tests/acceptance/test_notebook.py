"""The notebook of docs/ runs, from the first cell to the last, on a real experiment."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.mark.filterwarnings("ignore")  # the kernel's own, which are none of ours
def test_notebook_runs_on_a_finished_experiment(
    repository: Path, finished_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(repository / "docs" / "analysis.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    (setting,) = (cell for cell in notebook.cells if 'NAME = "quickstart"' in cell.source)
    setting.source = setting.source.replace("quickstart", "small")
    for cell in notebook.cells:  # the small experiment varies other things
        cell.source = cell.source.replace('by="lr"', 'by="optimizer"')
        cell.source = cell.source.replace('columns="activation"', 'columns="optimizer"')
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs name a machine"
    monkeypatch.setenv("TRAINYARD_HOME", str(finished_home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repository)]))
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = "".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert "val/accuracy" in printed
    assert "Error" not in printed
