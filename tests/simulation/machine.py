"""Random schedules of everything that may happen to a queue, each step held to the model.

Two orchestrators share a store. They crash, forget, repeat themselves after an answer that
was lost, speak under old leases, and live with a clock that jumps. The store is the real
one; `Yard` is where it is reached, and where replies get lost.
"""

from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from experiments.states import AttemptState, FailureKind, TrialState
from orchestrator.queueing.leases import Lease
from tests.simulation.attempts import DESKS, FAULTS, NUMBERS, WHICH, AttemptRules, Which
from tests.simulation.model import BAD, resume_epochs
from tests.simulation.model_records import ModelOrchestrator, ModelTrial
from tests.simulation.questions import QUESTIONS, SIZES
from tests.simulation.snapshot import Snapshot, compare, compare_histories
from tests.simulation.yard import Desk, Fault

LEASE_SECONDS: Final = 60.0
COUNTED_EVERY: Final = 8
"""Steps between two looks at the overviews, which take as long as all else."""

# None of them adds up to a lease's 60 s, or an orchestrator's: what happens on the second
# is nobody's promise.
JUMPS: Final = st.sampled_from([0.7, 7.3, 31.7, 61.1, 3600.3, -7.1, -61.3, -3600.7])


class QueueMachine(AttemptRules):
    """One schedule; `yard` is put there by whoever runs it."""

    num_steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.before: Snapshot | None = None
        self.retried = False

    @initialize(questions=st.sets(st.integers(0, len(QUESTIONS) - 1), min_size=1, max_size=3))
    def open_the_yard(self, questions: set[int]) -> None:
        for desk in self.yard.desks:
            self._enter(desk)
        for question in sorted(questions):
            self.submit(question, Fault.NONE, 0)

    # --- what people do

    @rule(question=st.integers(0, len(QUESTIONS) - 1), fault=FAULTS, desk=DESKS)
    def submit(self, question: int, fault: Fault, desk: int) -> None:
        experiment, trials = QUESTIONS[question]
        queue = self.yard.desks[desk].queue
        answer, sure = self.yard.ask(lambda: queue.submit(experiment, trials), fault)
        new = experiment.id not in self.model.experiments
        assert not sure or answer.new == new
        if new:
            num_reused = self.model.submit(experiment, trials, self.yard.trial_row)
            assert not sure or answer.num_reused == num_reused, "submit reused otherwise"

    @precondition(lambda self: self.leases)
    @rule(
        verb=st.sampled_from(["cancel", "pause", "resume", "retry", "retry"]),
        number=NUMBERS,
        whole=st.sampled_from([False, False, False, True]),
        fault=FAULTS,
    )
    def intervene(self, verb: str, number: int, whole: bool, fault: Fault) -> None:
        trials = list(self.model.trials.values())
        verbs = {
            "cancel": self._cancel,
            "pause": self._pause,
            "resume": self._resume,
            "retry": self._retry,
        }
        verbs[verb](trials[number % len(trials)], whole, fault)

    def _cancel(self, trial: ModelTrial, whole: bool, fault: Fault) -> None:
        theirs = list(self.model.of(trial.experiment_id)) if whole else [trial]
        num_queued = sum(each.state is TrialState.QUEUED for each in theirs)
        num_leased = sum(each.state is TrialState.LEASED for each in theirs)
        answer, sure = self.yard.ask(lambda: self.yard.person.cancel(**_scope(trial, whole)), fault)
        if sure:
            assert (answer.num_cancelled, answer.num_stopping) == (num_queued, num_leased)
        for each in theirs:
            self.model.cancel(each)

    def _pause(self, trial: ModelTrial, whole: bool, fault: Fault) -> None:
        self.yard.ask(lambda: self.yard.person.pause(**_scope(trial, whole)), fault)
        self.model.pause(trial, whole=whole)

    def _resume(self, trial: ModelTrial, whole: bool, fault: Fault) -> None:
        self.yard.ask(lambda: self.yard.person.resume(**_scope(trial, whole)), fault)
        self.model.resume(trial, whole=whole)

    def _retry(self, trial: ModelTrial, whole: bool, fault: Fault) -> None:
        states = (TrialState.CANCELLED, *BAD)
        theirs = list(self.model.of(trial.experiment_id)) if whole else [trial]
        ended = [each for each in theirs if each.state in states]
        person = self.yard.person
        answer, sure = self.yard.ask(
            lambda: person.retry(**_scope(trial, whole), states=states), fault
        )
        assert not sure or answer == len(ended)
        self.model.retry(ended)
        self.retried = True

    # --- what orchestrators do

    @rule(desk=DESKS, limit=st.integers(1, 3), ahead=st.booleans(), fault=FAULTS)
    def claim_small(self, desk: int, limit: int, ahead: bool, fault: Fault) -> None:
        """Claim for the workers that most of the trials need."""
        self.claim(desk, SIZES[0], limit, ahead, fault)

    @rule(
        desk=DESKS,
        size=st.sampled_from(SIZES),
        limit=st.integers(1, 3),
        ahead=st.booleans(),
        fault=FAULTS,
    )
    def claim(self, desk: int, size: Any, limit: int, ahead: bool, fault: Fault) -> None:
        at = self.yard.desks[desk]
        claims, sure = self.yard.ask(
            lambda: at.queue.claim(
                worker=f"{at.id}/worker-1",
                limit=limit,
                lease_seconds=LEASE_SECONDS,
                resources=size,
                ahead=ahead,
            ),
            fault,
        )
        if not sure:  # the first claim may have been committed: strays, that nobody knows of
            self._take_over_strays(at, size, {claim.lease for claim in claims})
        eligible = [t for t in self.model.trials.values() if self.model.must_be_claimed(t, size)]
        if ahead:
            self._check_ahead(claims, size)
        else:
            assert claims or not eligible, f"{eligible[0].id} waits, and was not claimed"
        assert len(claims) <= limit
        assert len({claim.experiment_id for claim in claims}) <= 1
        self._check_priority(claims, eligible)
        self._check_pack(claims, eligible)
        for claim in claims:
            trial = self.model.trials[claim.lease.trial_id]
            assert self.model.may_be_claimed(trial, size), f"{trial} was claimed"
            assert resume_epochs(claim.resume_from) == self.model.resume_points(trial)
            lease = self.model.lease(trial, orchestrator=at.id, seconds=LEASE_SECONDS)
            assert lease == claim.lease, "the fence does not follow the last one"
            at.known.add(lease)
            self.leases.append(lease)

    def _check_ahead(self, claims: Any, size: Any) -> None:
        """What is taken ahead was never tried; nothing is only if one that was tried waits."""
        trials = self.model.trials
        assert all(trials[claim.lease.trial_id].fence == 0 for claim in claims)
        assert not any(self.model.must_go_alone(trials[each.lease.trial_id]) for each in claims)
        waiting = [each for each in trials.values() if self.model.must_be_claimed(each, size)]
        may_wait = [each for each in trials.values() if self.model.may_be_claimed(each, size)]
        if waiting and not claims:
            assert any(each.fence or self.model.must_go_alone(each) for each in may_wait)

    def _check_priority(self, claims: Any, eligible: list[ModelTrial]) -> None:
        priorities = [
            self.model.experiments[trial.experiment_id].execution.priority for trial in eligible
        ]
        for claim in claims:
            experiment = self.model.experiments[claim.experiment_id]
            assert experiment.execution.priority >= max(priorities, default=-1000)

    def _check_pack(self, claims: Any, eligible: list[ModelTrial]) -> None:
        """The first is the next in line, and the others can be trained with it."""
        trials = [self.model.trials[claim.lease.trial_id] for claim in claims]
        passed_over = [
            each for each in eligible if trials and each.experiment_id == trials[0].experiment_id
        ]
        assert all(each.id >= trials[0].id for each in passed_over), f"{trials[0]} is not next"
        if len(trials) > 1:
            assert len({each.pack_shape for each in trials}) == 1
            assert not any(self.model.goes_alone(each) for each in trials)

    def _take_over_strays(self, at: Desk, size: Any, answered: set[Lease]) -> None:
        for trial in self.model.trials.values():
            row = self.yard.trial_row(trial.id)
            lease = Lease(trial.id, row.fence)
            if row.fence > trial.fence and lease not in answered:
                assert self.model.may_be_claimed(trial, size), f"{trial} was claimed"
                assert self.model.lease(trial, orchestrator=at.id, seconds=LEASE_SECONDS) == lease
                self.leases.append(lease)

    @rule(desk=DESKS, fault=FAULTS)
    def renew(self, desk: int, fault: Fault) -> None:
        at = self.yard.desks[desk]
        answer, _ = self.yard.ask(
            lambda: at.queue.renew(at.known, lease_seconds=LEASE_SECONDS), fault
        )
        held = {lease for lease in at.known if self.model.holds(lease)}
        assert answer.held == held
        assert answer.stopping == {each for each in held if self.model.trials[each.trial_id].stop}
        for lease in held:
            self.model.trials[lease.trial_id].expires_at = self.model.now + LEASE_SECONDS
        at.known = set(held)

    @precondition(lambda self: self.model.leased())
    @rule(which=WHICH, desk=DESKS, kind=st.sampled_from(["abandon", "release", "lose"]))
    def pass_on(self, which: Which, desk: int, kind: str) -> None:
        """An attempt ends before its trial does, and the trial is soon claimed again."""
        if kind == "abandon":
            self.abandon(which, desk, Fault.NONE)
        elif kind == "release":
            self.release(which, desk, False, Fault.NONE)
        else:
            self.crash_worker(which, desk, False, False, Fault.NONE)
        self.claim(1 - desk, SIZES[0], 3, False, Fault.NONE)

    @rule(desk=DESKS, fault=FAULTS)
    def expire(self, desk: int, fault: Fault) -> None:
        at = self.yard.desks[desk]
        overdue = [
            (trial, Lease(trial.id, trial.fence))
            for trial in self.model.leased()
            if trial.expires_at <= self.model.now
        ]
        answer, sure = self.yard.ask(at.queue.expire, fault)
        leases = {lease for _, lease in overdue}
        assert set(answer) == leases if sure else set(answer) <= leases
        for trial, lease in overdue:
            if self.model.is_seen(trial.orchestrator):
                self.model.fail(lease, FailureKind.LOST)
            else:
                self.model.hand_back(lease, AttemptState.EXPIRED)

    @rule(desk=DESKS)
    def crash_orchestrator(self, desk: int) -> None:
        """Its process is gone, its leases are not; another one starts in its place."""
        at = self.yard.desks[desk]
        at.restart()
        self._enter(at)

    def _enter(self, at: Desk) -> None:
        at.queue.enter(host="here", process=at.process)
        self.model.see(ModelOrchestrator(at.id, "here", at.process, self.model.now))

    @rule(desk=DESKS, fault=FAULTS)
    def give_sign_of_life(self, desk: int, fault: Fault) -> None:
        at = self.yard.desks[desk]
        self.yard.ask(at.queue.sign_of_life, fault)
        self.model.see(ModelOrchestrator(at.id, "here", at.process, self.model.now))

    @rule(desk=DESKS, alone=st.booleans(), fault=FAULTS)
    def take_back(self, desk: int, alone: bool, fault: Fault) -> None:
        at = self.yard.desks[desk]
        alive = {each.process for each in self.yard.desks}
        gone = self.model.gone(me=at.id, alone=alone, host="here", alive=alive)
        theirs = [
            trial
            for trial in self.model.leased()
            if trial.orchestrator in gone
            or (trial.orchestrator != at.id and trial.orchestrator not in self.model.orchestrators)
        ]
        answer, sure = self.yard.ask(
            lambda: at.queue.take_back(alone=alone, host="here", is_running=alive.__contains__),
            fault,
        )
        assert not sure or answer == len(theirs)
        for trial in theirs:
            self.model.hand_back(Lease(trial.id, trial.fence), AttemptState.EXPIRED)
        for each in gone:
            del self.model.orchestrators[each]

    @rule(desk=DESKS, fault=FAULTS)
    def release_strays(self, desk: int, fault: Fault) -> None:
        at = self.yard.desks[desk]
        strays = [
            trial
            for trial in self.model.leased()
            if trial.orchestrator == at.id and Lease(trial.id, trial.fence) not in at.known
        ]
        answer, sure = self.yard.ask(lambda: at.queue.release_strays(at.known), fault)
        assert not sure or answer == len(strays)
        for trial in strays:
            self.model.hand_back(Lease(trial.id, trial.fence), AttemptState.EXPIRED)

    @rule(desk=DESKS, fault=FAULTS)
    def reuse_known(self, desk: int, fault: Fault) -> None:
        queue = self.yard.desks[desk].queue
        known = [
            trial
            for trial in self.model.trials.values()
            if trial.state is TrialState.QUEUED and self.model.sources(trial)
        ]
        answer, sure = self.yard.ask(queue.reuse_known, fault)
        assert not sure or answer == len(known)
        for trial in known:
            self.model.reuse(trial, self.yard.trial_row(trial.id).reused_from)

    @rule(limit=st.integers(1, 3))
    def tell_mlflow(self, limit: int) -> None:
        for entry in self.yard.outbox.pending(limit):
            assert self.yard.outbox.mark_done(entry)
            if entry.kind == "trial":
                self.model.trials[entry.key].is_told = True

    @rule(seconds=JUMPS)
    def let_the_clock_jump(self, seconds: float) -> None:
        self.yard.clock.seconds += seconds
        self.model.now = self.yard.clock.seconds

    # --- what must hold

    @invariant()
    def the_store_is_as_promised(self) -> None:
        type(self).num_steps += 1
        now = self.yard.snapshot(with_counts=self.num_steps % COUNTED_EVERY == 0)
        compare(now, self.model)
        if self.before is not None:
            compare_histories(self.before, now, retried=self.retried)
        self.before, self.retried = now, False

    def teardown(self) -> None:
        """Whatever happened, an orchestrator that goes on working brings every trial to an end."""
        try:
            self._drain()
            self.the_store_is_as_promised()
        finally:
            self.yard.heal()

    def _drain(self) -> None:
        self.take_back(0, alone=True, fault=Fault.NONE)
        self.yard.desks[0].known.clear()
        self.release_strays(0, fault=Fault.NONE)
        for experiment in self.model.experiments.values():
            self.yard.person.resume(experiment_id=experiment.id)
            self.model.resume(next(self.model.of(experiment.id)), whole=True)
        for trial in self.model.trials.values():
            self.yard.person.resume(trial_id=trial.id)
            self.model.resume(trial, whole=False)
        # However far the clock had gone ahead when a retry was put off.
        self.let_the_clock_jump(
            max([0.0, *(t.available_from[1] - self.model.now for t in self.model.trials.values())])
            + 1.0
        )
        num_rounds = 0
        while any(not trial.is_terminal for trial in self.model.trials.values()):
            self.reuse_known(0, fault=Fault.NONE)
            for size in SIZES:
                self.claim(0, size, 3, False, fault=Fault.NONE)
                while self.model.leased():
                    self.succeed(("valid", 0), 0, True, False, 1, fault=Fault.NONE)
            num_rounds += 1
            assert num_rounds <= 2 * len(self.model.trials) + 2, "trials wait for ever"

    # --- drawing


def _scope(trial: ModelTrial, whole: bool) -> dict[str, str]:
    return {"experiment_id": trial.experiment_id} if whole else {"trial_id": trial.id}
