"""One thing that `doctor` looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `mend` is empty where there is nothing to do."""

    name: str
    ok: bool
    found: str
    mend: str = ""
