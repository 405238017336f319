"""The page of findings names them all, with the thresholds that are in force."""

import re
from pathlib import Path

import pytest

from experiments.diagnosis import learning, shape
from experiments.diagnosis.finding import Code


@pytest.fixture
def rows(repository: Path) -> dict[str, str]:
    text = (repository / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    findings = text.partition("## How often")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*)$", findings, flags=re.MULTILINE))


def test_every_finding_has_its_row(rows: dict[str, str]) -> None:
    assert sorted(rows) == sorted(code.value for code in Code)


def test_the_thresholds_are_those_in_force(rows: dict[str, str]) -> None:
    low, high = learning.AT_CHANCE
    written = {
        Code.DIVERGED: ["twice"] if learning.EXPLODED == 2 else [],
        Code.STUCK_AT_CHANCE: [f"{low:g} and {high:g} times"],
        Code.NOT_LEARNING: [f"{learning.FLAT:.0%}", f"{learning.EXPLAINED:.0%}"],
        Code.DEAD_UNITS: ["half of"] if learning.DEAD == 0.5 else [],
        Code.TOO_SLOW: [
            f"{learning.FALLING:.0%}",
            f"{learning.SLOW_PROGRESS:.0%}",
            f"{learning.STEADY:.0%}",
            f"{learning.SEEN_TO_FALL:.1%}",
            f"{learning.LEAST_STEPS} steps",
        ],
        Code.OSCILLATING: [f"{shape.SCATTER:.1%}"],
        Code.OVERFITTING: [f"{shape.WORSENED:.0%}", f"{shape.RISING:.0%}"],
        Code.STILL_FALLING: [f"{shape.STILL_GAINING:.0%}"],
        Code.JUMPS: [f"{shape.JUMP:g} times"],
        Code.VAL_BELOW_TRAIN: [f"{1 - shape.BELOW:.0%}"],
    }
    for code, texts in written.items():
        assert texts, f"docs/diagnosis.md has another threshold of {code}"
        for text in texts:
            assert text.replace("%", " %") in rows[code.value]
