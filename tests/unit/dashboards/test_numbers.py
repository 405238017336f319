import pytest

from dashboards.numbers import bytes_text, duration_text, value_text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_have_binary_units(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (61, "1 min 01 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97912, "0.9791"), (1e-4, "0.0001"), (0.0, "0"), (3, "3"), ("relu", "relu"), (1e7, "1e+07")],
)
def test_values_have_four_digits(value: object, text: str) -> None:
    assert value_text(value) == text
