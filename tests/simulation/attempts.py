"""What workers say under their leases, valid or not: the rules of the simulation that do it."""

from collections.abc import Callable
from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from experiments.events import (
    CheckpointSaved,
    Failure,
    MetricPoint,
    PointsMeasured,
    Said,
    TrialBegun,
    TrialNoted,
    TrialSucceeded,
)
from experiments.states import AttemptState, FailureKind, IncidentKind, TrialState
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.retry import GiveUp, Retry
from tests.simulation.model import Model
from tests.simulation.yard import Fault, Yard

OWN_KINDS: Final = [kind for kind in FailureKind if kind is not FailureKind.LOST]
NUMBERS: Final = st.integers(0, 30)
DESKS: Final = st.integers(0, 1)
FAULTS: Final = st.sampled_from([Fault.NONE] * 4 + [Fault.REPLY_LOST, Fault.NOT_COMMITTED])
Which = tuple[str, int]
WHICH: Final = st.tuples(st.sampled_from(["valid", "valid", "passed on", "any"]), NUMBERS)
"""One of the leases that are valid, that have just passed on to another, or of all ever given."""


class AttemptRules(RuleBasedStateMachine):
    """What happens to an attempt. `leases` are all that were ever given."""

    yard: ClassVar[Yard]

    def __init__(self) -> None:
        super().__init__()
        self.yard.empty()
        self.model = Model()
        self.model.now = self.yard.clock.seconds
        self.leases: list[Lease] = []
        self.num_values = 0

    @precondition(lambda self: self.leases)
    @rule(
        which=WHICH,
        desk=DESKS,
        what=st.sampled_from(["begun", "points", "best", "last", "noted", "epoch"]),
        epoch=st.integers(1, 4),
        fault=FAULTS,
    )
    def report(self, which: Which, desk: int, what: str, epoch: int, fault: Fault) -> None:
        lease = self._lease(which)
        said = self._said(lease, what, epoch)
        results = self.yard.desks[desk].results
        stale, _ = self.yard.ask(lambda: results.record([(lease, event) for event in said]), fault)
        assert (lease in stale) != self.model.holds(lease)
        if self.model.holds(lease):
            for event in said:
                self.model.hear(lease, event)

    def _said(self, lease: Lease, what: str, epoch: int) -> list[Said]:
        self.num_values += 1
        trial_id, value = lease.trial_id, float(self.num_values)

        def saved(kind: str) -> CheckpointSaved:
            path = f"{trial_id}/{lease.fence}/{kind}-{epoch}.pt"
            return CheckpointSaved(trial_id, kind, epoch, 10 * epoch, path, "a" * 64, 1)

        point = MetricPoint("train/loss", epoch, 10 * epoch, value, self.num_values)
        points = PointsMeasured(trial_id, (point,))
        said: dict[str, list[Said]] = {
            "begun": [TrialBegun(trial_id, epoch - 1, 10 * (epoch - 1))],
            "points": [points],
            "best": [saved("best")],
            "last": [saved("last")],
            "noted": [TrialNoted(trial_id, IncidentKind.CHECKPOINT_REJECTED, "altered")],
            "epoch": [points, saved("best"), saved("last")],
        }
        return said[what]

    @precondition(lambda self: self.leases)
    @rule(
        which=WHICH,
        desk=DESKS,
        saves=st.booleans(),
        twice=st.booleans(),
        epoch=st.integers(1, 4),
        fault=FAULTS,
    )
    def succeed(
        self, which: Which, desk: int, saves: bool, twice: bool, epoch: int, fault: Fault
    ) -> None:
        """A trial ends well, and `saves` its selected epoch before, or has no room for that."""
        if saves:
            self.report(which, desk, "epoch", epoch, Fault.NONE)
        lease, queue = self._lease(which), self.yard.desks[desk].queue
        self.num_values += 1
        value = float(self.num_values)
        event = TrialSucceeded(lease.trial_id, {"val/accuracy": value}, epoch, 1.0)
        trial = self.model.trials[lease.trial_id]
        held = self.model.holds(lease)
        before = trial.attempts[lease.fence] is AttemptState.SUCCEEDED
        for _ in range(1 + twice):
            answer, _ = self.yard.ask(lambda: queue.succeed(lease, event), fault)
            assert answer == (held or before)
        if held:
            self.model.succeed(lease, value, selected_epoch=epoch)
        else:
            self.model.speak_late(lease, AttemptState.SUCCEEDED)

    @precondition(lambda self: self.leases)
    @rule(which=st.lists(WHICH, min_size=2, max_size=4), desk=DESKS, fault=FAULTS)
    def succeed_together(self, which: list[Which], desk: int, fault: Fault) -> None:
        """Results come in one transaction, some under leases that have passed on."""
        leases = [self._lease(each) for each in which]
        queue, trials = self.yard.desks[desk].queue, self.model.trials
        successes = []
        for lease in dict.fromkeys(leases):
            self.num_values += 1
            metrics = {"val/accuracy": float(self.num_values)}
            successes.append(Success(lease, TrialSucceeded(lease.trial_id, metrics, 1, 1.0)))
        held = [self.model.holds(each.lease) for each in successes]
        before = [
            trials[lease.trial_id].attempts[lease.fence] is AttemptState.SUCCEEDED
            for lease in (each.lease for each in successes)
        ]
        answer, _ = self.yard.ask(lambda: queue.succeed_all(successes), fault)
        assert answer == [now or was for now, was in zip(held, before, strict=True)]
        for success, is_held in zip(successes, held, strict=True):
            if is_held:
                value = success.event.metrics["val/accuracy"]
                self.model.succeed(success.lease, value, selected_epoch=1)
            else:
                self.model.speak_late(success.lease, AttemptState.SUCCEEDED)

    @precondition(lambda self: self.leases)
    @rule(
        which=WHICH,
        desk=DESKS,
        kind=st.sampled_from(OWN_KINDS),
        twice=st.booleans(),
        fault=FAULTS,
    )
    def fail(self, which: Which, desk: int, kind: FailureKind, twice: bool, fault: Fault) -> None:
        queue = self.yard.desks[desk].queue
        failure = Failure(kind, "Error", "it failed")
        self._end_badly(
            self._lease(which), kind, lambda lease: queue.fail(lease, failure), twice, fault
        )

    @precondition(lambda self: self.leases)
    @rule(which=WHICH, desk=DESKS, memory=st.booleans(), twice=st.booleans(), fault=FAULTS)
    def crash_worker(
        self, which: Which, desk: int, memory: bool, twice: bool, fault: Fault
    ) -> None:
        queue = self.yard.desks[desk].queue
        kind = FailureKind.OUT_OF_MEMORY if memory else FailureKind.LOST
        self._end_badly(
            self._lease(which),
            kind,
            lambda lease: queue.lose(lease, "killed", out_of_memory=memory),
            twice,
            fault,
        )

    def _end_badly(
        self,
        lease: Lease,
        kind: FailureKind,
        say: Callable[[Lease], Retry | GiveUp | None],
        twice: bool,
        fault: Fault,
    ) -> None:
        held = self.model.holds(lease)
        answer, sure = self.yard.ask(lambda: say(lease), fault)
        if not held:
            assert answer is None
            lost = kind is FailureKind.LOST
            said = AttemptState.EXPIRED if lost else AttemptState.FAILED
            self.model.speak_late(lease, said)
            return
        state = self.model.fail(lease, kind)
        if sure:
            assert isinstance(answer, Retry) == (state is TrialState.QUEUED), answer
            assert not isinstance(answer, GiveUp) or answer.state == state
        if twice:
            assert say(lease) is None

    @precondition(lambda self: self.leases)
    @rule(which=WHICH, desk=DESKS, twice=st.booleans(), fault=FAULTS)
    def release(self, which: Which, desk: int, twice: bool, fault: Fault) -> None:
        lease, queue = self._lease(which), self.yard.desks[desk].queue
        held = self.model.holds(lease)
        answer, sure = self.yard.ask(lambda: queue.release(lease), fault)
        if held:
            self.model.hand_back(lease, AttemptState.CANCELLED)
            assert not sure or answer == self.model.trials[lease.trial_id].state
        else:
            self.model.speak_late(lease, AttemptState.CANCELLED)
        if twice:
            assert queue.release(lease) is None

    @precondition(lambda self: self.leases)
    @rule(which=WHICH, desk=DESKS, fault=FAULTS)
    def abandon(self, which: Which, desk: int, fault: Fault) -> None:
        lease, queue = self._lease(which), self.yard.desks[desk].queue
        held = self.model.holds(lease)
        answer, sure = self.yard.ask(lambda: queue.abandon(lease, "Ray died"), fault)
        assert not sure or answer == held
        if held:
            self.model.hand_back(lease, AttemptState.EXPIRED)

    def _lease(self, which: Which) -> Lease:
        kind, number = which
        leased = {trial.id for trial in self.model.leased()}
        valid = [lease for lease in self.leases if self.model.holds(lease)]
        passed_on = [each for each in self.leases if each.trial_id in leased and each not in valid]
        chosen = {"valid": valid, "passed on": passed_on}.get(kind) or self.leases
        return chosen[number % len(chosen)]
