"""The checkpoints on record: where a trial goes on, how far it got, which of them stay."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, tuple_

from experiments.records import ResumePoint
from orchestrator.queueing.leases import Lease
from orchestrator.store.tables import checkpoint

_NUM_POINTS: Final = 2  # the newest, and one more in case that it is not whole any more
_IS_LAST: Final = checkpoint.c.kind == "last"
_NEWEST_FIRST: Final = (checkpoint.c.fence.desc(), checkpoint.c.epoch.desc())


def resume_points(
    connection: Connection, trial_ids: Collection[str]
) -> Mapping[str, tuple[ResumePoint, ...]]:
    """Give the checkpoints that trials may go on from, the newest first, by trial."""
    if not trial_ids:
        return {}
    columns = [checkpoint.c[name] for name in ("trial_id", *ResumePoint.__dataclass_fields__)]
    query = select(*columns).where(checkpoint.c.trial_id.in_(trial_ids), _IS_LAST)
    found: dict[str, tuple[ResumePoint, ...]] = {}
    for trial_id, *rest in connection.execute(query.order_by(*_NEWEST_FIRST)):
        found[trial_id] = (*found.get(trial_id, ()), ResumePoint(*rest))[:_NUM_POINTS]
    return found


def got_further(connection: Connection, lease: Lease) -> bool:
    """Say whether the lease's attempt has saved a later epoch than all before it.

    Any checkpoint of its own is not enough: one that goes on from the last epoch saves that
    epoch again, and dies again while it is tested.
    """
    own = checkpoint.c.fence == lease.fence
    newest = func.coalesce(func.max(checkpoint.c.epoch).filter(own), 0)
    newest_before = func.coalesce(func.max(checkpoint.c.epoch).filter(~own), 0)
    query = select(newest > newest_before).where(checkpoint.c.trial_id == lease.trial_id, _IS_LAST)
    return bool(connection.scalar(query))


class Kept(NamedTuple):
    """Which kinds of checkpoints a finished trial keeps, and which epoch of it counts."""

    kinds: Collection[str]
    selected_epoch: int


def settle(connection: Connection, finished: Mapping[str, Kept]) -> None:
    """Strike off the record all but one checkpoint of each kind that finished trials keep.

    "best" is that of the selected epoch, "last" the newest. `finished` are by trial.
    """
    key = (checkpoint.c.trial_id, checkpoint.c.kind, checkpoint.c.fence, checkpoint.c.epoch)
    found, stays = set[tuple[str, str, int, int]](), dict[tuple[str, str], Any]()
    of_them = checkpoint.c.trial_id.in_([*finished])  # by keys alone SQLite would look through all
    query = select(*key).where(of_them)
    for row in connection.execute(query.order_by(*_NEWEST_FIRST)):
        found.add(tuple(row))
        kinds, selected_epoch = finished[row.trial_id]
        if row.kind in kinds and (row.kind != "best" or row.epoch == selected_epoch):
            stays.setdefault((row.trial_id, row.kind), tuple(row))
    if goes := found.difference(stays.values()):
        connection.execute(delete(checkpoint).where(of_them, tuple_(*key).in_(goes)))
