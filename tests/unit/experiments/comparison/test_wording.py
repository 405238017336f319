import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.comparison.wording import amount_text, level_text, rounded


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (90.0, None, "90"),
        (90.0, 0.0, "90"),
        (90.0, 1e-9, "90"),
        (93.3333333333, 1e-9, "93.33333333"),
        (93.333, 3.0, "93.3"),
        (93.333, 300.0, "93"),
        (0.001, 300.0, "0.001"),
        (2.5e-10, 1e-11, "2.5e-10"),
        (0.0, 1e-11, "0"),
        (0.5234567, 1e-11, "0.5234567"),
        (999.7, None, "1,000"),
        (1234.5, None, "1,234"),
        (1e200, 1e199, "1e+200"),
        (-90.0, 1e-10, "-90"),
    ],
)
def test_numbers_are_rounded_to_what_their_spread_supports(
    value: float, spread: float | None, text: str
) -> None:
    assert rounded(value, spread) == text


@given(st.floats(0.001, 1e12), st.floats(1e-300, 1e12))
def test_no_number_of_an_ordinary_size_has_an_exponent(value: float, spread: float) -> None:
    shown = rounded(value, spread)
    assert "e" not in shown
    assert float(shown.replace(",", "")) == pytest.approx(
        value, abs=max(1e-8, 2 * spread), rel=0.005
    )


def test_equal_shares_over_seeds_are_written_in_full() -> None:
    assert level_text(0.9, "val/accuracy", spread=1e-16) == "90 %"
    assert amount_text(0.01, "val/accuracy", spread=1e-16) == "1 point"
