"""What a store would keep of one trial, over all attempts at it."""

from experiments.events import (
    CheckpointSaved,
    Event,
    MetricPoint,
    PointsMeasured,
    TrialBegun,
    TrialNoted,
    TrialSucceeded,
)
from experiments.records import Assignment, CheckpointPolicy, ResumePoint, TrialConfig

EVERY_EPOCH = CheckpointPolicy(every_epochs=1)


class TrialRecord:
    """Keeps the events of a trial's attempts, as the store does."""

    def __init__(self, config: TrialConfig) -> None:
        self.config = config
        self.points: list[MetricPoint] = []
        self.saved: list[CheckpointSaved] = []
        self.begun: list[TrialBegun] = []
        self.notes: list[TrialNoted] = []
        self.ending: Event | None = None

    def keep(self, event: Event) -> None:
        match event:
            case TrialBegun():  # what was measured after that step no longer counts
                self.begun.append(event)
                self.points = [point for point in self.points if point.step <= event.step]
            case PointsMeasured():
                self.points.extend(event.points)
            case CheckpointSaved():
                self.saved.append(event)
            case TrialNoted():
                self.notes.append(event)
            case _:
                self.ending = event

    @property
    def resume_from(self) -> tuple[ResumePoint, ...]:
        """The "last" checkpoints on record, the newest first."""
        return tuple(
            ResumePoint(saved.path, saved.sha256, saved.epoch, saved.step)
            for saved in reversed(self.saved)
            if saved.kind == "last"
        )

    def assignment(self, folder: str, **options: object) -> Assignment:
        """Give the next attempt, which goes on from what is on record."""
        return Assignment(
            "t",
            fence=len(self.begun) + 1,
            config=self.config,
            checkpoint_folder=folder,
            resume_from=self.resume_from,
            **{"checkpoints": EVERY_EPOCH, **options},  # type: ignore[arg-type]
        )

    def result(self) -> dict[str, object]:
        """Give all that may not differ between an interrupted trial and another, to the bit."""
        end = self.ending
        assert isinstance(end, TrialSucceeded), end
        curve = sorted(
            (point.metric, point.epoch, point.step, point.value.hex())
            for point in self.points
            if point.metric != "images_per_second"
        )
        assert len(curve) == len({entry[:3] for entry in curve}), "a point is there twice"
        return {
            "curve": curve,
            "metrics": {name: value.hex() for name, value in end.metrics.items()},
            "selected_epoch": end.selected_epoch,
            "confusion": end.confusion,
            "checkpoints": {(saved.kind, saved.epoch, saved.sha256) for saved in self.saved},
        }
