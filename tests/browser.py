"""A real browser, for tests of pages: the system's Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(Exception):
    """There is no Chromium on this machine."""


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless browser for the session; without one tests are skipped (in CI they fail)."""
    try:
        with launched() as found:
            yield found
    except NoBrowserError as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@contextmanager
def launched() -> "Iterator[Browser]":
    """Start a headless browser, for a while.

    Raises:
        NoBrowserError: There is none.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise NoBrowserError("no Chromium: install Debian's package `chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def offline_tab(
    browser: "Browser", page: Path, *, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> "Iterator[tuple[Page, list[str], list[str]]]":
    """Open a report's page without a network, until all its figures are drawn.

    Gives the tab, what it asked for beside itself, and what its console said.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_function(
        "[...document.querySelectorAll('.figure-plot')].every("
        "place => place.querySelector('svg.main-svg'))"
    )
    yield tab, [url for url in asked[1:] if not url.startswith(("data:", "blob:"))], said
    context.close()
