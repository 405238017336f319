"""Points at which a test has the process die, to see that nothing is lost there.

They stand around everything that becomes durable: each commit of the store and each rename
of a file. `TRAINYARD_FAILPOINT=n` in the environment ends the process, as `kill -9` would,
at the n-th of them that it passes; so a test walks n from 1 until none is left. Each process
counts for itself. Without the variable nothing is counted.
"""

import itertools
import os
import signal
from typing import Final

VARIABLE: Final = "TRAINYARD_FAILPOINT"

_PASSED: Final = itertools.count(1)


def passing(name: str) -> None:
    """Pass a point by this name; the process dies here if the environment says so.

    Raises:
        ValueError: The variable holds no number.
    """
    fatal = os.environ.get(VARIABLE)
    if fatal is None:
        return
    if not fatal.isdecimal():
        raise ValueError(f"{VARIABLE} must be a number of passed points from 1, got {fatal!r}")
    passed = next(_PASSED)
    if passed == int(fatal):
        os.write(2, f"{VARIABLE}: dies at point {passed}, {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
