"""How trials of a shape are to be trained on a machine, by what workers measured there.

What was found first stays, so that no experiment wavers between ways that are about as fast.
Only what was measured in a hurry, for a small experiment, is measured anew for a much larger one.
Other versions, or another GPU, are another engine, for which all is measured again.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects import postgresql, sqlite

from experiments.events import StrategiesTimed
from experiments.planning.cost import Work
from experiments.planning.strategies import PLAIN, Calibration, Strategy, rule_of_thumb
from experiments.states import FailureKind
from orchestrator.store.tables import strategy_timing, trial

_MUCH_MORE: Final = 4
"""So many times the steps of an experiment are worth a second, longer look."""


@dataclass(frozen=True, slots=True)
class Site:
    """What decides how fast a way to train a shape is.

    `machine` names it and a worker's share of it (`machine.fingerprint`), `engine` the versions
    and the GPU (`devices.engine_text`).
    """

    machine: str
    engine: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The strategy that was the fastest, and for how many steps' sake that was measured."""

    strategy: Strategy
    num_steps: int
    is_thorough: bool

    def leaves_open(self, num_steps: int) -> bool:
        """Say whether so many steps are worth another look, at what there was no time for."""
        return not self.is_thorough and num_steps >= _MUCH_MORE * self.num_steps


@dataclass(frozen=True, slots=True)
class Way:
    """How trials of one shape are to be trained by a worker with so many GPUs.

    As was measured at the worker's site; without a `timing` by the rule of thumb.
    """

    gpus: float
    timing: Timing | None = None

    def strategy(self, row: Row[Any]) -> Strategy:
        """Say how a queued trial is trained, and how many others at most as one program with it."""
        work = _packed_work(row)
        if work is None:
            return PLAIN
        return rule_of_thumb(work, gpus=self.gpus) if self.timing is None else self.timing.strategy

    def calibration(self, row: Row[Any], *, num_trials: int) -> Calibration | None:
        """Say what a worker should measure before it trains a queued trial, if that can pay.

        `num_trials` of its shape wait, this one included.
        """
        work = _packed_work(row)
        if work is None:
            return None
        found = Calibration(work, self.gpus, num_trials)
        is_open = self.timing is None or self.timing.leaves_open(found.num_steps)
        return found if is_open and found.can_pay else None


def find(connection: Connection, site: Site, pack_shape: str) -> Timing | None:
    """Give what was measured for a shape; None if nothing was, or by a version unlike this."""
    columns = (strategy_timing.c[name] for name in ("chosen", "num_steps", "is_thorough"))
    query = select(*columns).where(
        strategy_timing.c.machine == site.machine,
        strategy_timing.c.engine == site.engine,
        strategy_timing.c.pack_shape == pack_shape,
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    try:
        return Timing(Strategy.parse(row.chosen), row.num_steps, row.is_thorough)
    except ValueError:
        return None


def remember(connection: Connection, site: Site, event: StrategiesTimed, *, now: float) -> None:
    """Keep what a worker measured for the shape of a trial, unless as much is known already."""
    query = select(trial.c.pack_shape).where(trial.c.id == event.trial_id)
    pack_shape = connection.execute(query).scalar_one()
    found = {
        "chosen": event.chosen,
        "step_seconds": dict(event.step_seconds),
        "num_steps": event.num_steps,
        "is_thorough": event.is_thorough,
        "measured_at": now,
    }
    key = {"machine": site.machine, "engine": site.engine, "pack_shape": pack_shape}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(strategy_timing).values(key | found)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[*key],
            set_={name: new[name] for name in found},
            where=~strategy_timing.c.is_thorough
            & (new.num_steps >= _MUCH_MORE * strategy_timing.c.num_steps),
        )
    )


def _packed_work(row: Row[Any]) -> Work | None:
    """Give a trial's work; None where there is no choice of how to train it.

    Plainly, too, after it ran out of memory: that takes the least.
    """
    is_known = row.work.keys() == Work.__dataclass_fields__.keys()  # else of another version
    if row.pack_shape is None or not is_known or row.spent.get(FailureKind.OUT_OF_MEMORY):
        return None
    return Work.from_data(row.work)
