"""The durable queue: trials go in, are leased to workers, and come to exactly one end.

The contract, on SQLite and PostgreSQL alike:

- A submitted trial is in the store until it is terminal; a terminal trial stays as it is.
- Whoever claims a trial gets a lease with a new, higher fence. At most one lease of a
  trial is valid; whatever comes under another one changes nothing.
- Whatever is asked may be asked again where the answer was lost: what had been done is not
  done twice. What a lost `claim` had leased comes back with `release_strays`.
- Time is the database's. It decides when a lease may be taken back, never who is right.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, delete, exc, select, update

from experiments.events import Failure, StrategiesTimed, TrialSucceeded
from experiments.records import Experiment, Resources, Trial
from experiments.states import AttemptState, FailureKind, IncidentKind, TrialState
from orchestrator.instance import place_on
from orchestrator.queueing import (
    claiming,
    incidents,
    interventions,
    outcomes,
    presence,
    reuse,
    timings,
    turns,
)
from orchestrator.queueing.claiming import Claim, Wish
from orchestrator.queueing.interventions import Cancellation, Pause
from orchestrator.queueing.leases import Lease, lock_trials, valid
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.presence import Presence
from orchestrator.queueing.retry import GiveUp, Retry
from orchestrator.queueing.submission import Submission, insert_experiment, note_growth
from orchestrator.queueing.timings import Site
from orchestrator.store.database import Clock, database_now, reading, writing
from orchestrator.store.tables import IS_LEASED, trial
from orchestrator.store.tables import orchestrator as orchestrator_table


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which leases are still ours, and which of these belong to trials asked to stop."""

    held: frozenset[Lease]
    stopping: frozenset[Lease]


class Queue:
    """All that may happen to a trial; each method is one transaction.

    `now` gives the present time as SQL; tests put a clock of their own there. `orchestrator`
    is the id of the one that claims; empty for those who only submit or intervene.
    """

    def __init__(
        self, engine: Engine, *, now: Clock = database_now, orchestrator: str = ""
    ) -> None:
        self._engine = engine
        self._now = now
        self._orchestrator = orchestrator
        self._presence: Presence | None = None
        self._served: dict[str, int] = {}  # the number of the last claim, by experiment
        self._considered: dict[tuple[str, Site], set[str]] = {}  # shapes, by experiment and site

    # --- orchestrators

    def enter(self, *, host: str, process: str) -> None:
        """Register this orchestrator; `process` is "pid:start ticks" on `host`, this machine."""
        self._presence = Presence(self._orchestrator, place_on(host), process)
        self.sign_of_life()

    def sign_of_life(self) -> None:
        """Say that this orchestrator is there; it is registered again if it was struck off."""
        assert self._presence is not None, "enter() comes first"
        with writing(self._engine) as connection:
            presence.sign(connection, self._presence, now=self._read_clock(connection))

    def leave(self) -> None:
        """Strike this orchestrator off; its leases should have been handed back."""
        with writing(self._engine) as connection:
            its_row = orchestrator_table.c.id == self._orchestrator
            connection.execute(delete(orchestrator_table).where(its_row))

    def take_back(self, *, alone: bool, host: str, is_running: Callable[[str], bool]) -> int:
        """Queue again what orchestrators that are gone had leased: it counts as no failure.

        With `alone` (we hold the store's lock) all others are gone; else those that have given
        no sign of life for `instance.GONE_SECONDS`, or whose process on this `host` does not
        run, where it could be seen from here. Gives the number of trials.
        """
        with writing(self._engine) as connection:
            return presence.take_back(
                connection,
                me=self._orchestrator,
                alone=alone,
                place=place_on(host),
                is_running=is_running,
                now=self._read_clock(connection),
            )

    # --- trials go in, and out to workers

    def submit(
        self,
        experiment: Experiment,
        trials: Sequence[Trial],
        *,
        class_names: Sequence[str] = (),
        git_commit: str | None = None,
    ) -> Submission:
        """Record an experiment with its trials, all of them queued; again changes nothing.

        Those whose result is known have it at once, unless `execution.reuse` is false.
        `class_names` are the data set's; empty where its targets are no classes.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            new = insert_experiment(
                connection,
                experiment,
                trials,
                class_names=class_names,
                now=now,
                git_commit=git_commit,
            )
            theirs = trial.c.experiment_id == experiment.id
            num_reused = reuse.give_known(connection, theirs, now=now) if new else 0
        if new:
            with writing(self._engine) as connection:
                note_growth(connection, len(trials))
        return Submission(experiment.id, new, num_reused)

    def reuse_known(self, *, limit: int = 100, sources: Collection[str] | None = None) -> int:
        """Give up to `limit` queued trials the result that is known by now; give their number.

        With `sources` only results of these trials, as when they have just succeeded.
        """
        with reading(self._engine) as connection:
            found = reuse.with_known_result(connection, limit=limit, sources=sources)
        if not found:
            return 0
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return reuse.give_known(connection, trial.c.id.in_(found), now=now)

    def demand(self, *, count_to: int = turns.COUNTED_AT_MOST) -> dict[Resources, int]:
        """Count the trials that may be claimed, by what a worker for them needs.

        First in line first. It counts up to `count_to` of an experiment.
        """
        with reading(self._engine) as connection:
            now = self._read_clock(connection)
            return turns.demand(connection, self._served, now=now, count_to=count_to)

    def claim(
        self,
        *,
        worker: str,
        limit: int,
        lease_seconds: float,
        resources: Resources,
        site: Site | None = None,
        ahead: bool = False,
        like: str | None = None,
    ) -> tuple[Claim, ...]:
        """Lease trials to a worker of that size: the next in line, and those of one pack with it.

        Up to `limit`, and no more than it pays to train as one program, all of one experiment and
        one pack shape. How is what was measured for that shape at the worker's `site`. Where
        nothing was, the first that claims a shape there is asked to measure it, if that can pay,
        and the rule of thumb decides (`strategies.rule_of_thumb`), as it does without a site. A
        trial goes alone that has no shape, or whose next failure with others may be its last
        (`retry.must_go_alone`).

        First by priority; within one, experiments take turns (`turns.Candidate.turn`).
        Trials that wait after a failure, are paused, or will have their result from another
        trial are passed over. None where another orchestrator was faster.

        What a worker takes `ahead` waits there until it has done what it is busy with: none if
        the next in line was tried before, which is for a worker that is free. `like` is a pack
        shape: none but trials of that, of the experiment whose turn it is.
        """
        wish = Wish(worker, self._orchestrator, limit, lease_seconds, site, ahead, like)
        try:
            with writing(self._engine) as connection:
                claims = self._claim(connection, wish, resources)
        except exc.IntegrityError as error:
            if claiming.SHARED_KEY_INDEX not in str(error.orig):
                raise
            return ()  # another has just leased a trial of the same shared key
        if claims:
            first = claims[0]
            self._served[first.experiment_id] = max(self._served.values(), default=0) + 1
            # One that goes alone was not asked to measure: the next of its shape may be.
            if site is not None and first.pack_shape is not None and not first.goes_alone:
                shapes = self._considered.setdefault((first.experiment_id, site), set())
                shapes.add(first.pack_shape)
        return claims

    def _claim(self, connection: Connection, wish: Wish, resources: Resources) -> tuple[Claim, ...]:
        now = self._read_clock(connection)
        candidates = turns.in_line(connection, resources=resources, now=now)
        in_turn = sorted(candidates, key=lambda each: each.turn(self._served))
        # Ahead, nobody's turn is passed over: a free worker will find what is next.
        for place, candidate in enumerate(in_turn[:1] if wish.ahead else in_turn):
            claims = claiming.lease_next(
                connection,
                candidate,
                wish,
                now=now,
                # Whoever waited holding another experiment, out of the order of ids that all
                # keep, might be waited for.
                waits=place == 0,
                considered=self._considered.get((candidate.id, wish.site), ()) if wish.site else (),
            )
            if claims:
                return claims
        return ()

    def remember_strategies(self, event: StrategiesTimed, *, site: Site) -> None:
        """Keep what a worker measured, for later claims; the same again changes nothing."""
        with writing(self._engine) as connection:
            timings.remember(connection, site, event, now=self._read_clock(connection))

    # --- leases

    def renew(self, leases: Iterable[Lease], *, lease_seconds: float) -> Renewal:
        """Prolong the leases that are still ours, and learn which trials should stop."""
        asked = valid(leases).with_only_columns(trial.c.id)
        with writing(self._engine) as connection:
            rows = connection.execute(
                update(trial)
                .where(trial.c.id.in_(asked))
                .values(lease_expires_at=self._now() + lease_seconds)
                .returning(trial.c.id, trial.c.fence, trial.c.stop_requested)
            ).all()
        return Renewal(
            held=frozenset(Lease(row.id, row.fence) for row in rows),
            stopping=frozenset(Lease(row.id, row.fence) for row in rows if row.stop_requested),
        )

    def expire(self) -> tuple[Lease, ...]:
        """Take back the leases that were not renewed in time.

        They count as lost workers where their orchestrator is there, whose worker then fell
        silent; as nobody's failure where it is not.
        """
        overdue = IS_LEASED & (trial.c.lease_expires_at <= self._now())
        with reading(self._engine) as connection:
            rows = connection.execute(select(trial.c.id, trial.c.fence).where(overdue)).all()
        expired = []
        for lease in (Lease(*row) for row in rows):
            with writing(self._engine) as connection:
                now = self._read_clock(connection)
                # Asked again under the lock: it may have been renewed just now.
                if presence.expire(connection, lease, only_if=overdue, now=now):
                    expired.append(lease)
        return tuple(expired)

    def release_strays(self, known: Collection[Lease]) -> int:
        """Queue again what this orchestrator has leased and does not know of; give the number.

        They are what a claim had leased whose answer was lost; it counts as no failure.
        """
        ours = IS_LEASED & (trial.c.orchestrator == self._orchestrator)
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            leases = {Lease(row.id, row.fence) for row in lock_trials(connection, ours, ours)}
            strays = sorted(leases.difference(known), key=lambda lease: lease.trial_id)
            for lease in strays:
                outcomes.hand_back(connection, lease, now=now, attempt_as=AttemptState.EXPIRED)
        return len(strays)

    # --- endings

    def succeed(self, lease: Lease, event: TrialSucceeded, *, machine: str | None = None) -> bool:
        """Record one result, as `succeed_all` does."""
        (is_recorded,) = self.succeed_all([Success(lease, event, machine)])
        return is_recorded

    def succeed_all(self, successes: Sequence[Success]) -> list[bool]:
        """Record results, each once; False where the lease had passed on and nothing changed.

        True, too, where the lease's result is recorded already. Of the checkpoints those stay
        that the experiment keeps.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return outcomes.succeed(connection, successes, now=now)

    def fail(self, lease: Lease, failure: Failure) -> Retry | GiveUp | None:
        """Record a failure and decide what follows it (`retry.py`).

        None where nothing changed: it was recorded before, or the lease had passed on.
        """
        with writing(self._engine) as connection:
            return outcomes.fail(connection, lease, failure, now=self._read_clock(connection))

    def lose(
        self, lease: Lease, reason: str, *, out_of_memory: bool = False
    ) -> Retry | GiveUp | None:
        """Record that the worker went away, for want of memory or not; otherwise as `fail`."""
        kind = FailureKind.OUT_OF_MEMORY if out_of_memory else FailureKind.LOST
        failure = Failure(kind, "WorkerLost", reason)
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return outcomes.fail(
                connection, lease, failure, now=now, told_as=IncidentKind.WORKER_LOST
            )

    def release(self, lease: Lease) -> TrialState | None:
        """Hand a trial back unfinished, which counts as no failure.

        Gives the state it is in now: cancelled if that had been asked for, else queued;
        None where nothing changed.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return outcomes.hand_back(connection, lease, now=now, attempt_as=AttemptState.CANCELLED)

    def abandon(self, lease: Lease, reason: str) -> bool:
        """Hand a trial back that was cut short by no fault of its own; False if nothing changed."""
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            state = outcomes.hand_back(
                connection, lease, now=now, attempt_as=AttemptState.EXPIRED, reason=reason
            )
            return state is not None

    # --- what people do

    def cancel(
        self, *, experiment_id: str | None = None, trial_id: str | None = None
    ) -> Cancellation:
        """Cancel an experiment's trials, or one: the queued at once, the leased soon."""
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return interventions.cancel(connection, _scope(experiment_id, trial_id), now=now)

    def pause(self, *, experiment_id: str | None = None, trial_id: str | None = None) -> Pause:
        """Begin nothing more of an experiment, or a trial; what is under way stops and waits."""
        scope = _scope(experiment_id, trial_id)
        with writing(self._engine) as connection:
            return interventions.pause(connection, scope, experiment_id=experiment_id)

    def resume(self, *, experiment_id: str | None = None, trial_id: str | None = None) -> int:
        """Let a paused experiment, or trial, go on; give how many trials had waited for it.

        Trials of an experiment that were paused one by one are resumed one by one. Its failures
        so far no longer count towards `execution.max_failed_trials`.
        """
        scope = _scope(experiment_id, trial_id)
        with writing(self._engine) as connection:
            return interventions.resume(connection, scope, experiment_id=experiment_id)

    def retry(
        self,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
        states: Collection[TrialState] = outcomes.BAD_STATES,
    ) -> int:
        """Queue again what ended in one of `states`, and go on where an experiment paused."""
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            scope = _scope(experiment_id, trial_id)
            return interventions.retry(connection, scope, states=states, now=now)

    def note(
        self,
        kind: IncidentKind,
        message: str,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
    ) -> None:
        """Write down an incident; the same words again within a minute are the same incident."""
        about = {"experiment_id": experiment_id, "trial_id": trial_id}
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            if not incidents.is_noted(connection, kind, message, now=now, **about):
                incidents.note(connection, kind, message, now=now, **about)

    def _read_clock(self, connection: Connection) -> float:
        return connection.execute(select(self._now())).scalar_one()


def _scope(experiment_id: str | None, trial_id: str | None) -> ColumnElement[bool]:
    assert (experiment_id is None) != (trial_id is None), "name an experiment or a trial"
    return (
        trial.c.id == trial_id
        if experiment_id is None
        else (trial.c.experiment_id == experiment_id)
    )
