import math
import random
from collections.abc import Iterator

import pytest

from experiments.planning.cost import CostSample, Work
from experiments.planning.cost_model import CostModel, learn

RATES = (0.3, 0.05, 2e-4, 8e-6, 2e-11, 1e-9, 3e-10)
"""A machine's true seconds: of a trial, and of one of each count."""


def true_seconds(work: Work) -> float:
    counts = (
        1.0,
        work.epochs,
        work.steps,
        work.layer_runs,
        work.multiply_adds,
        work.elements,
        work.updated_parameters,
    )
    return sum(rate * count for rate, count in zip(RATES, counts, strict=True))


def works(number: int, rng: random.Random) -> Iterator[Work]:
    """Give trials of all kinds: from one linear layer to a deep network, short and long."""
    for _ in range(number):
        epochs, examples = rng.randint(1, 20), rng.choice([1_000, 10_000, 50_000])
        batch_size, layers = rng.choice([16, 64, 256]), rng.randint(3, 60)
        multiply_adds, parameters = 10 ** rng.uniform(4, 8), 10 ** rng.uniform(3, 7)
        elements = multiply_adds**0.7
        steps = epochs * math.ceil(examples / batch_size)
        yield Work(
            epochs=epochs,
            steps=steps,
            layer_runs=3 * steps * layers,
            multiply_adds=int(3 * examples * epochs * multiply_adds),
            elements=int(3 * examples * epochs * elements),
            updated_parameters=int(steps * parameters),
            memory_bytes=int(12 * parameters + 8 * batch_size * elements),
        )


def samples(number: int, rng: random.Random, *, noise: float = 0.1) -> list[CostSample]:
    return [
        CostSample(work, true_seconds(work) * math.exp(rng.gauss(0, noise)), None)
        for work in works(number, rng)
    ]


def learned(some: list[CostSample]) -> CostModel:
    model = learn(some)
    assert model is not None
    return model


def test_nothing_is_learned_from_nothing() -> None:
    assert learn([]) is None


@pytest.mark.parametrize(("number", "median_factor"), [(1, 1.8), (10, 1.5), (300, 1.06)])
def test_unseen_trials_are_forecast_better_the_more_were_seen(
    number: int, median_factor: float
) -> None:
    errors = []
    for seed in range(5):
        rng = random.Random(seed)
        model = learned(samples(number, rng))
        errors += [
            abs(math.log(model.predict(work).seconds / true_seconds(work)))
            for work in works(40, rng)
        ]
    assert math.exp(sorted(errors)[len(errors) // 2]) < median_factor


@pytest.mark.parametrize("number", [1, 3, 10, 30, 100])
def test_intervals_cover_most_unseen_trials(number: int) -> None:
    covered = []
    for seed in range(12):
        rng = random.Random(seed)
        model = learned(samples(number, rng))
        for work in works(60, rng):
            expected = model.predict(work)
            covered.append(expected.low <= true_seconds(work) <= expected.high)
    assert sum(covered) >= 0.8 * len(covered), f"{sum(covered)} of {len(covered)}"


def test_rates_that_decide_are_recovered() -> None:
    rates = learned(samples(500, random.Random(1), noise=0.02)).rates
    assert rates[3:] == pytest.approx(RATES[3:], rel=0.2)
    assert all(rate >= 0 for rate in rates)


def test_trials_of_a_machine_that_slept_count_for_little() -> None:
    rng = random.Random(2)
    good = samples(60, rng)
    slept = [CostSample(each.work, each.seconds + 20_000, None) for each in samples(4, rng)]
    undisturbed, model = learned(good), learned(good + slept)
    for work in works(30, rng):
        factor = model.predict(work).seconds / undisturbed.predict(work).seconds
        assert 0.6 < factor < 1.7


def test_the_very_work_that_was_seen_takes_as_long_as_it_did() -> None:
    rng = random.Random(3)
    (work,) = works(1, rng)
    again = [CostSample(work, seconds, None) for seconds in (10.0, 14.0, 11.0)]
    assert learned([*again, *samples(20, rng)]).predict(work).seconds == 11.0


def test_a_network_far_beyond_what_was_seen_is_unsure_by_the_stated_rule() -> None:
    (work,) = works(1, random.Random(4))
    model = learned([CostSample(work, 10.0, None)])
    larger = Work(
        work.epochs,
        work.steps,
        work.layer_runs,
        100 * work.multiply_adds,
        work.elements,
        work.updated_parameters,
        work.memory_bytes,
    )
    near, far = model.predict(work), model.predict(larger)
    assert (near.is_unsure, far.is_unsure) == (False, True)
    assert far.reach == pytest.approx(100)
    # A factor of two after one trial; each factor of ten beyond it doubles that.
    assert near.high / near.seconds == pytest.approx(2)
    assert far.high / far.seconds == pytest.approx(2 * 2**2)


def test_more_epochs_of_the_same_network_are_no_leap() -> None:
    (work,) = works(1, random.Random(5))
    model = learned([CostSample(work, 10.0, None)])
    longer = Work(*(50 * getattr(work, name) for name in Work.__dataclass_fields__))
    expected = model.predict(longer)
    assert expected.reach == pytest.approx(1)
    assert 200 < expected.seconds <= 500


def test_work_survives_the_store() -> None:
    (work,) = works(1, random.Random(6))
    assert Work.from_data(work.to_data()) == work
