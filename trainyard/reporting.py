"""Reports: what the store has, worked out, and written as files that are whole or not there."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import TrainyardError
from trainyard.version import VERSION

if TYPE_CHECKING:
    from trainyard.workplace import Workplace
    from workers.portrait_records import Portrait


@dataclass(frozen=True, slots=True)
class Report:
    """Where a report is: its folder, and the names of its files in that, the page first.

    `sentences` are its answer; `attached` are the trials with whose runs MLflow comes to show it,
    `not_attached` says why it does not (empty: it does, or was not asked).
    """

    folder: Path
    files: tuple[str, ...]
    sentences: tuple[str, ...]
    attached: tuple[str, ...]
    not_attached: str


def write(experiments: Sequence[str], *, out: Path | None, attach: bool) -> Report:
    """Write the report of experiments into `out`, or into a folder of the home.

    Raises:
        NotFoundError: There is no such experiment.
        OSError: The files cannot be written.
    """
    from dashboards.experiment_labels import folder_name
    from dashboards.report.evidence import gather
    from dashboards.report.writing import write_report
    from trainyard.workplace import Workplace
    from workers.files import whole_folder

    with Workplace() as workplace:
        found = workplace.experiments(*experiments)
        folder = out if out is not None else workplace.settings.reports / folder_name(found)
        with whole_folder(folder) as partial:
            evidence = gather(workplace.results, found, portray=_portrait)
            now = dt.datetime.now(dt.UTC)
            written = write_report(evidence, partial, version=VERSION, now=now)
    attached: list[str] = []
    not_attached = ""
    if attach:
        try:
            with Workplace() as workplace:
                for row in found:
                    attached += attach_folder(workplace, row.id, folder)
        except TrainyardError as error:  # the report is there, and stays
            not_attached = str(error)
    return Report(folder, written.files, written.sentences, tuple(attached), not_attached)


def attach_folder(workplace: "Workplace", experiment: str, folder: Path) -> tuple[str, ...]:
    """Have MLflow show a report with an experiment's best runs; give their trials.

    Raises:
        NotFoundError: There is no such experiment, or no report in the folder.
    """
    from orchestrator.mirroring.attachment import attach

    return attach(
        workplace.settings,
        workplace.results,
        workplace.outbox,
        experiment=experiment,
        folder=folder,
    )


def _portrait(trial_id: str) -> "Portrait | str":
    """Show what a trial's network does, or say why that cannot be shown here."""
    from trainyard.api import portrait

    try:
        return portrait(trial_id)
    except (TrainyardError, OSError, RuntimeError) as error:  # a report does without
        return f"There are no pictures of trial {trial_id}'s network: {error}."
