"""A short fuzzing of what reads and plans specs; `make fuzz` is the long one."""

from tests.fuzz.campaign import campaign, mutant

SEED = 20_261_122


def test_mutated_specs_end_in_a_plan_or_a_spec_error() -> None:
    outcomes = list(campaign(range(500), seed=SEED))
    assert [outcome for outcome in outcomes if outcome.is_fault] == []
    endings = {outcome.ending for outcome in outcomes}
    assert endings == {"plan", "spec error"}  # the mutants are neither all sane nor all mad


def test_a_mutant_follows_from_its_seed_and_number() -> None:
    assert all(mutant(number, seed=1) == mutant(number, seed=1) for number in (0, 1, 99))
    assert len({str(mutant(number, seed=1)) for number in range(50)}) > 40
