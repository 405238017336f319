import math

import pytest

from dashboards.numbers import _SHARES, bytes_text, duration_text, metric_text, value_text
from experiments.tasks import METRICS


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
    ("metric", "value", "text"),
    [
        ("val/accuracy", 0.9, "0.9000"),
        ("test/mean_iou", 0.00004, "0.0000"),
        ("r2", -12.5, "-12.5000"),
        ("val/rmse", 0.5, "0.5000"),
        ("val/psnr", 31.249, "31.25"),
        ("val/rmse", 12345.6, "12,346"),
        ("val/loss", 2.302585, "2.303"),
        ("val/loss", 1.2e-5, "1.2e-05"),
        ("val/loss", 3.4e9, "3.4e+09"),
        ("val/loss", 0.0, "0"),
        ("val/loss", math.inf, "inf"),
        ("val/accuracy", math.nan, "nan"),
    ],
)
def test_metrics_are_written_as_shares_or_in_their_own_unit(
    metric: str, value: float, text: str
) -> None:
    assert metric_text(metric, value) == text


def test_only_metrics_that_are_measured_are_shares() -> None:
    assert METRICS.keys() >= _SHARES


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97912, "0.9791"), (1e-4, "0.0001"), (0.0, "0"), (3, "3"), ("relu", "relu"), (1e7, "1e+07")],
)
def test_values_have_four_digits(value: object, text: str) -> None:
    assert value_text(value) == text
