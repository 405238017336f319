"""trainyard: a spec goes in, trained and compared trials come out.

Each name is imported when it is first used, so that `import trainyard` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trainyard import version

if TYPE_CHECKING:
    from experiments.errors import (
        IncomparableError,
        NotFoundError,
        SpecError,
        StoreError,
        TrainyardError,
        WaitTimeoutError,
    )
    from trainyard.api import (
        attach_report,
        cancel,
        compare,
        curves,
        diagnose,
        export,
        leaderboard,
        load_model,
        pause,
        plan,
        portrait,
        promote,
        report,
        resume,
        retry,
        run,
        submit,
        trials,
        wait,
    )

__version__ = version.VERSION

__all__ = [
    "IncomparableError",
    "NotFoundError",
    "SpecError",
    "StoreError",
    "TrainyardError",
    "WaitTimeoutError",
    "__version__",
    "attach_report",
    "cancel",
    "compare",
    "curves",
    "diagnose",
    "export",
    "leaderboard",
    "load_model",
    "pause",
    "plan",
    "portrait",
    "promote",
    "report",
    "resume",
    "retry",
    "run",
    "submit",
    "trials",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'trainyard' has no attribute {name!r}")
    home = "experiments.errors" if name.endswith("Error") else "trainyard.api"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
