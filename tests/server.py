"""Servers that tests start."""

import subprocess
import time
import urllib.request

import pytest


def until_answered(url: str, server: subprocess.Popen[bytes], *, seconds: float = 120.0) -> None:
    """Wait until a server answers; the test fails where it ends before, or never does."""
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"no server at {url}")
