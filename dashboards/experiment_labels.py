"""What experiments are called where several stand together, and as folders."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from orchestrator.store.rows import ExperimentRow


def experiment_labels(experiments: Iterable[ExperimentRow]) -> dict[str, str]:
    """Name experiments by id: each by its name, and by its id besides where several share that."""
    rows = {row.id: row.name for row in experiments}
    times = Counter(rows.values())
    return {id_: name if times[name] == 1 else f"{name} {id_[:8]}" for id_, name in rows.items()}


def folder_name(experiments: Sequence[ExperimentRow]) -> str:
    """Name the folder of what is written of experiments: by name and id, safe as a file name."""
    names = [
        f"{re.sub(r'[^A-Za-z0-9._-]+', '-', row.name)[:60]}-{row.id[:8]}" for row in experiments
    ]
    shown = "+".join(names[:3]) + (f"+{len(names) - 3}-more" if len(names) > 3 else "")
    return shown.lstrip(".-") or experiments[0].id
