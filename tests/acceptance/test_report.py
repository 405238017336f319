"""A report of real trials, in a real browser: nothing is asked of anybody, nothing goes wrong."""

from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

from tests.acceptance.conftest import Trainyard
from tests.browser import offline_tab


def test_report_of_a_run_opens_offline_on_every_screen(
    trainyard: Trainyard, finished_home: Path, browser: Browser, tmp_path: Path
) -> None:
    told = trainyard(
        *("report", "small", "--no-mlflow", "--out", tmp_path / "out", "--json"),
        home=finished_home,
    )
    assert told.code == 0, told.err
    document = told.json()
    assert document["attached"] == []
    assert len(document["answer"]) == 3
    assert all(Path(name).is_file() for name in document["files"])
    page = Path(document["files"][0])
    assert page.stat().st_size < 10e6
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            look_at(page, browser, width=width, scheme=scheme)


def look_at(page: Path, browser: Browser, *, width: int, scheme: Literal["light", "dark"]) -> None:
    """Open the page and hold it to what it promises: quiet, by itself, whole, with a keyboard."""
    with offline_tab(browser, page, width=width, scheme=scheme) as (tab, asked, said):
        assert (asked, said) == ([], [])
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("main h2").first.inner_text() == "Answer"
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
