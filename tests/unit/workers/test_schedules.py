import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.descent import SCHEDULES
from experiments.records import ScheduleConfig
from workers.schedules import learning_rate


def rates(schedule: ScheduleConfig, *, steps_per_epoch: int = 10, epochs: int = 4) -> list[float]:
    """Give the learning rates of a whole trial with base 1."""
    total = steps_per_epoch * epochs
    return [
        learning_rate(
            schedule, base=1.0, step=step, steps_per_epoch=steps_per_epoch, total_steps=total
        )
        for step in range(total)
    ]


def test_constant_stays_at_its_base() -> None:
    assert set(rates(ScheduleConfig("constant"))) == {1.0}


def test_step_drops_every_so_many_epochs() -> None:
    found = rates(ScheduleConfig("step", step_epochs=2, step_factor=0.1))
    assert found == [1.0] * 20 + [0.1] * 20


def test_cosine_goes_from_its_base_towards_zero() -> None:
    found = rates(ScheduleConfig("cosine"))
    assert found[0] == 1.0
    assert found[20] == pytest.approx(0.5)
    assert found[-1] == pytest.approx((1 + math.cos(math.pi * 39 / 40)) / 2)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_warm_up_rises_in_equal_steps_to_the_base(name: str) -> None:
    found = rates(ScheduleConfig(name, warmup_epochs=0.5))
    assert found[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_step_counts_its_epochs_from_the_start_of_the_trial() -> None:
    found = rates(ScheduleConfig("step", warmup_epochs=1, step_epochs=2, step_factor=0.5))
    assert found[9:21] == [1.0] * 11 + [0.5]


@pytest.mark.parametrize(("steps_per_epoch", "epochs"), [(10, 4), (7, 3), (1, 4), (1, 1)])
def test_one_cycle_is_that_of_torch(steps_per_epoch: int, epochs: int) -> None:
    total = steps_per_epoch * epochs
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, cycle_momentum=False
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) < total:
            reference.step()
    found = rates(ScheduleConfig("one_cycle"), steps_per_epoch=steps_per_epoch, epochs=epochs)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_trial_may_be_all_warm_up() -> None:
    found = rates(ScheduleConfig("cosine", warmup_epochs=100))
    assert found == pytest.approx([(step + 1) / 40 for step in range(40)])


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.floats(0, 20),
    st.integers(1, 50),
    st.integers(1, 20),
)
def test_no_rate_exceeds_the_base_or_reaches_zero(
    name: str, warmup_epochs: float, steps_per_epoch: int, epochs: int
) -> None:
    schedule = ScheduleConfig(name, warmup_epochs, step_epochs=3, step_factor=0.5)
    found = rates(schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
    assert all(0 < rate <= 1 for rate in found)
