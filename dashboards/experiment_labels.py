"""What experiments are called where several stand together."""

from collections import Counter
from collections.abc import Iterable

from orchestrator.store.rows import ExperimentRow


def experiment_labels(experiments: Iterable[ExperimentRow]) -> dict[str, str]:
    """Name experiments by id: each by its name, and by its id besides where several share that."""
    rows = {row.id: row.name for row in experiments}
    times = Counter(rows.values())
    return {id_: name if times[name] == 1 else f"{name} {id_[:8]}" for id_, name in rows.items()}
