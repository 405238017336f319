"""The ways in which a worker can train trials of one shape, and which are worth a try where.

All of them keep the precision that a spec asks for: they give the same numbers but for
rounding. Which is the fastest is measured (`workers/calibration.py`), not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from experiments.planning.cost import Work
from experiments.planning.packing import fitting_members, most_members

Layout = Literal["channels_last", "contiguous"]
"""In which order the numbers of images lie in memory, the weights of convolutions alike."""

KERNELS_VERSION: Final = 2
"""Raised whenever a strategy becomes faster or slower, so that all are measured again."""

_COMPILED: Final = "compiled"
_GRAPH: Final = "CUDA graph"
_MEMBERS_TRIED_ON_CPU: Final = (16, 64, 4)
_MEMBERS_TRIED_ON_GPU: Final = (64, 256, 512, 16)
STEPS_OF_A_LOOK: Final = 4
"""The least steps that show how fast a strategy is, the first of them to warm up."""

_STEPS_OF_TWO_LOOKS: Final = 24
"""With the making of two networks, which takes as long as some steps."""

_SHARE_FOR_CALIBRATION: Final = 0.03
_AS_GOOD: Final = 1.05
_AS_GOOD_IN_A_HURRY: Final = 1.3
"""Up to so many times the seconds of the fastest are as good: two looks differ by as much."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to train trials of one shape.

    Attributes:
        members: The most trials that are trained as one program. 1 is the loop of one network in
            torch's own modules; more are a program of fused layers, however many there are of
            them in the end.
        layout: Of images; None is what the rule for the device says (`devices.memory_layout`).
        compiled: Whether torch compiles the forward and the backward pass.
        graph: Whether a whole step is recorded once as a CUDA graph, and replayed.
    """

    members: int = 1
    layout: Layout | None = None
    compiled: bool = False
    graph: bool = False

    @property
    def is_fused(self) -> bool:
        """Whether layers are those of a pack."""
        return self.members > 1

    @property
    def text(self) -> str:
        """Name it: "plain", or "fused, 16 members", and what differs from the rules."""
        return self.text_of(self.members)

    def text_of(self, num_members: int) -> str:
        """Name it for a program of so many, which may be fewer than there could be."""
        plural = "s" * (num_members != 1)
        words = ["fused", f"{num_members} member{plural}"] if self.is_fused else ["plain"]
        if self.layout is not None:
            words.append(self.layout.replace("_", " "))
        words += [_COMPILED] * self.compiled + [_GRAPH] * self.graph
        return ", ".join(words)

    @classmethod
    def parse(cls, text: str) -> "Strategy":
        """Give the strategy that `text` names.

        Raises:
            ValueError: It names none that this version knows.
        """
        words = text.split(", ")
        number = text.removeprefix("fused, ").partition(" ")[0]
        members = int(number) if number.isdecimal() else 1
        layouts = (name for name in get_args(Layout) if name.replace("_", " ") in words)
        layout: Layout | None = next(layouts, None)
        found = cls(members, layout, compiled=_COMPILED in words, graph=_GRAPH in words)
        if found.text != text:
            raise ValueError(f"{text!r} names no way to train that this version knows")
        return found


PLAIN: Final = Strategy()
"""The reference loop."""


def rule_of_thumb(work: Work, *, gpus: float) -> Strategy:
    """Give the strategy for trials of this work as long as nothing was measured.

    `gpus` are the worker's.
    """
    return Strategy(most_members(work, gpus=gpus))


def candidates(
    work: Work, *, gpus: float, has_images: bool, memory_bytes: int | None = None
) -> tuple[Strategy, ...]:
    """List the strategies that may be the fastest for a shape, the most promising first.

    The reference loop and the rule of thumb are always among them.

    Args:
        work: A trial's.
        gpus: The worker's; 0 for a CPU.
        has_images: Whether the network convolves images, so that their layout matters.
        memory_bytes: Of the GPU, for this worker; None where it is not known.
    """
    thumb = rule_of_thumb(work, gpus=gpus)
    fit = fitting_members(work, gpus=gpus, memory_bytes=memory_bytes)
    if gpus > 0:
        packs = [Strategy(num) for num in _MEMBERS_TRIED_ON_GPU if num <= fit]
        other: Layout = "channels_last"
    else:
        packs = [Strategy(num) for num in _MEMBERS_TRIED_ON_CPU if num <= fit]
        other = "contiguous"
    layouts = [Strategy(layout=other)] if has_images else []
    if gpus == 0:
        return tuple(dict.fromkeys([thumb, PLAIN, *packs, *layouts]))
    graphs = [replace(each, graph=True) for each in (*packs, PLAIN, *layouts)]
    if has_images:
        layouts += [Strategy(each.members, other) for each in packs[:1]]
    compiled = [replace(graphs[-1], compiled=True)]
    return tuple(dict.fromkeys([thumb, PLAIN, *graphs, *packs, *layouts, *compiled]))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a worker needs to know to measure which strategy is the fastest for a shape.

    Attributes:
        work: A trial's.
        gpus: The worker's.
        num_trials: The experiment's trials of the shape that are still to be trained.
    """

    work: Work
    gpus: float
    num_trials: int

    @property
    def num_steps(self) -> int:
        """Give the steps that these trials will take together."""
        return self.work.steps * self.num_trials

    @property
    def can_pay(self) -> bool:
        """Whether there is time for a look at the reference loop and at one other strategy."""
        return self.budget_seconds(1.0) >= _STEPS_OF_TWO_LOOKS

    def budget_seconds(self, step_seconds: float) -> float:
        """Give how long measuring may take: a small share of what the training will take.

        `step_seconds` are those of a member's step.
        """
        return _SHARE_FOR_CALIBRATION * step_seconds * self.num_steps


def fastest(step_seconds: Mapping[Strategy, float | None], *, is_thorough: bool = True) -> Strategy:
    """Choose by the seconds of a member's step: of those that are as good, the first listed.

    None stands for a strategy that failed; at least one must not have. Where there was no time
    for a thorough look, the first is only left for what is clearly faster.
    """
    worked = {strategy: each for strategy, each in step_seconds.items() if each is not None}
    enough = (_AS_GOOD if is_thorough else _AS_GOOD_IN_A_HURRY) * min(worked.values())
    return next(strategy for strategy, each in worked.items() if each <= enough)
