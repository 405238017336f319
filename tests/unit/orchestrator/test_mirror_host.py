"""For how long a mirror's process goes on."""

import pytest

from orchestrator.mirroring.mirror_host import VAIN_SECONDS, Errand
from tests.samples import SettableClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    clock = SettableClock()
    clock.seconds = 1000.0
    monkeypatch.setattr("orchestrator.mirroring.mirror_host.time.monotonic", lambda: clock.seconds)
    return clock


def is_over(
    errand: Errand, num_told: int, num_left: int | None, *, was_let_go: bool = True
) -> bool:
    return errand.is_over(was_let_go=was_let_go, num_told=num_told, num_left=num_left)


def test_beside_an_orchestrator_it_goes_on_for_ever(clock: SettableClock) -> None:
    errand = Errand()
    for num_left in (0, 3, None):
        assert not is_over(errand, 0, num_left, was_let_go=False)
        clock.seconds += 2 * VAIN_SECONDS


@pytest.mark.usefixtures("clock")
def test_let_go_it_ends_when_all_is_told() -> None:
    errand = Errand()
    assert not is_over(errand, 5, 3)
    assert is_over(errand, 3, 0)
    assert is_over(Errand(), 0, 0)


def test_let_go_it_ends_when_nothing_could_be_told_for_a_minute(clock: SettableClock) -> None:
    errand = Errand()
    assert not is_over(errand, 0, 3, was_let_go=False)
    clock.seconds += 2 * VAIN_SECONDS  # which do not count: it was not let go
    assert not is_over(errand, 0, 3)
    clock.seconds += VAIN_SECONDS - 1
    assert not is_over(errand, 0, None)
    clock.seconds += 1
    assert is_over(errand, 0, 3)


def test_a_long_turn_in_which_something_was_told_is_not_in_vain(clock: SettableClock) -> None:
    errand = Errand()
    for _ in range(3):
        clock.seconds += 2 * VAIN_SECONDS
        assert not is_over(errand, 1, 3)
    clock.seconds += 2 * VAIN_SECONDS
    assert not is_over(errand, 0, 3)
