"""Why goals were missed when they were last measured: what a profile showed, and what would help.

Written by hand beside the figures; the page shows a reason where its goal is missed.
"""

from collections.abc import Mapping
from typing import Final

REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("digits_grid", "work time, times Ray Tune as shipped"): (
        "Ray Tune starts a process for each trial, which took 2.3 to 2.9 s from one run to "
        "another; at the slower end the ratio is above 25. Of a pack's time a third is matrix "
        "products at 80 of the core's 90 GFLOP/s, a sixth copies into columns and of gradients,"
        " a tenth tanh. Adding up columns in the second convolution's backward pass is the "
        "dearest that is left."
    ),
    ("digits_grid", "idle share of worker slots"): (
        "Counted from a trial's first step: the two workers end 0.1 to 0.3 s apart, as a pack "
        "of batches of 32 takes longer than one of 64, and the first to have a shape measures "
        "how to train it, 0.1 to 0.3 s. Smaller last packs would end more evenly, and cost more"
        " than they gain."
    ),
    ("lenet_mnist", "work time, times the best peer"): (
        "Of a plain step, batch 64 on one core, convolutions take 47 %, tanh 20 %, pooling 13 "
        "%, other products 6 % and the optimizer 3 %: torch's own kernels, which the peers call"
        " too. A processor with bfloat16 instructions, or a GPU, would help, and a little the "
        "workers' 5 % between trials."
    ),
    ("noop", "trials a second that only report, times Ray Tune"): (
        "The peer is 2.5 to 4 times as fast here as the 13 a second that the goal was set by. "
        "Ours is one process that writes: some 30 statements for every 28 trials, half of their"
        " time SQLAlchemy's, a fifteenth of all commits to the disk. A quarter of all is "
        "claims; several packs in one transaction would save most of that."
    ),
    ("noop", "trials a second that only report, times Ray Tune without loggers"): (
        "As above; this peer writes nothing that would survive a crash."
    ),
    ("metrics", "points a second in, postgresql"): (
        "37,000 to 48,000 from one day to the next. A transaction of 10,000 points is one "
        "statement of arrays; what the server does with it has not been profiled. COPY would be "
        "worth a try."
    ),
}
"""By benchmark and goal."""
