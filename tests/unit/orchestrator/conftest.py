"""What tests of the scheduler share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.orchestrator.scheduler_yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A scheduler with its queue and pool, on a store of its own."""
    made = Yard(tmp_path)
    yield made
    made.engine.dispose()
