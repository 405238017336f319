"""The ways in which a worker can train trials of one shape, and which are worth a try where.

All of them keep the precision that a spec asks for: they give the same numbers but for
rounding. Which is the fastest is measured (`workers/calibration.py`), not known.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from experiments.planning.cost import Work
from experiments.planning.packing import fitting_members, most_members

Layout = Literal["channels_last", "contiguous"]
"""In which order the numbers of images lie in memory, the weights of convolutions alike."""

_COMPILED: Final = "compiled"
_GRAPH: Final = "CUDA graph"
_MEMBERS_TRIED_ON_CPU: Final = (16, 64, 4)
_MEMBERS_TRIED_ON_GPU: Final = (64, 256, 512, 16)


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
    work: Work,
    *,
    gpus: float,
    has_images: bool,
    most_members: int,
    memory_bytes: int | None = None,
) -> tuple[Strategy, ...]:
    """List the strategies that may be the fastest for a shape, the most promising first.

    The reference loop and the rule of thumb are always among them.

    Args:
        work: A trial's.
        gpus: The worker's; 0 for a CPU.
        has_images: Whether the network convolves images, so that their layout matters.
        most_members: Trials that could be trained together; more members are not tried.
        memory_bytes: Of the GPU, for this worker; None where it is not known.
    """
    thumb = rule_of_thumb(work, gpus=gpus)
    if gpus > 0:
        fit = min(most_members, fitting_members(work, gpus=gpus, memory_bytes=memory_bytes))
        packs = [Strategy(num) for num in _MEMBERS_TRIED_ON_GPU if num <= fit]
        other: Layout = "channels_last"
    else:
        packs = [Strategy(num) for num in _MEMBERS_TRIED_ON_CPU if num <= most_members]
        other = "contiguous"
    layouts = [Strategy(layout=other)] if has_images else []
    if has_images and gpus > 0:
        layouts += [Strategy(each.members, other) for each in packs[:1]]
    return tuple(dict.fromkeys([thumb, PLAIN, *packs, *layouts]))
