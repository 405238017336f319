"""Every error that trainyard raises on purpose.

    TrainyardError
    ├── SpecError               the spec is wrong; nothing was written
    ├── NotFoundError           no experiment, trial or file of that name
    ├── DatasetError            a data set cannot be had, or is not what it should be
    │   ├── DatasetChecksumError    its bytes are not the bytes that were promised
    │   └── DatasetUnavailableError it cannot be had now; a later try may get it
    ├── StoreError              the SQL store or the cluster cannot be used
    │   ├── StoreUnavailableError   it cannot be used now; a later try may succeed
    │   ├── StoreVersionError       the store was written by another version
    │   ├── StoreBusyError          another orchestrator holds the store
    │   └── MlflowUnavailableError  MLflow cannot be reached or used now
    ├── IncomparableError       what is to be compared is of different kinds
    ├── WaitTimeoutError        the wait was shorter than the work
    └── CheckpointError         a checkpoint is missing, truncated or altered

A message says what was wrong, the value, where, and what to do next. Each class
carries the exit code with which the command line ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from experiments.language.printable import printable

_LONGEST: Final = 2000
"""Characters of one part of a fault."""


class TrainyardError(Exception):
    """Base of every error that is meant for a person to read."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a spec's text; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a spec.

    `path` is the field's path in the spec (`parameters.lr`), empty for the whole.
    `position` is None where the spec was given as Python values, not as text. The texts are
    kept printable and short, one line each: a spec's own words stand in them.
    """

    source: str
    position: Position | None
    path: str
    message: str

    def __post_init__(self) -> None:
        """Write out what would steer a terminal; cut what nobody would read to its end."""
        for name in ("source", "path", "message"):
            given = getattr(self, name)
            text = printable(given[:_LONGEST])
            if max(len(given), len(text)) > _LONGEST:
                text = f"{text[: _LONGEST - 3]}..."
            object.__setattr__(self, name, text)

    def __str__(self) -> str:
        """Render as `file:line:column: path: message`."""
        place = self.source
        if self.position is not None:
            place += f":{self.position.line}:{self.position.column}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class SpecError(TrainyardError):
    """A spec is wrong; `faults` lists everything that is, in the order of the text."""

    exit_code = 3

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=_place))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class NotFoundError(TrainyardError):
    """No experiment, trial or file goes by that name."""

    exit_code = 5


class DatasetError(TrainyardError):
    """A data set cannot be had here, or its files cannot be read."""

    exit_code = 5


class DatasetChecksumError(DatasetError):
    """A data set's bytes are not the bytes that were promised."""


class DatasetUnavailableError(DatasetError):
    """A data set cannot be downloaded or written now; a later try may get it."""


class StoreError(TrainyardError):
    """The SQL store or the cluster cannot be reached or used."""

    exit_code = 6


class StoreUnavailableError(StoreError):
    """The SQL store cannot be used now (no connection, no room); a later try may succeed."""


class StoreVersionError(StoreError):
    """The SQL store was written by another version of trainyard."""


class StoreBusyError(StoreError):
    """Another orchestrator holds this store."""


class MlflowUnavailableError(StoreError):
    """MLflow cannot be reached or used now; training does not need it, promoting does."""


class IncomparableError(TrainyardError):
    """Experiments are to be compared that have not the same task and objective."""

    exit_code = 2


class WaitTimeoutError(TrainyardError):
    """The wait ended before the experiment did."""

    exit_code = 124


class CheckpointError(TrainyardError):
    """A checkpoint is missing, truncated or altered."""


def _place(fault: Fault) -> tuple[int, int]:
    return (fault.position.line, fault.position.column) if fault.position else (0, 0)
