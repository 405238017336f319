"""A real browser, for tests of pages: the system's Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless browser for the session; without one tests are skipped (in CI they fail)."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        reason = "no Chromium: install Debian's package `chromium`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()
