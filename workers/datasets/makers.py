"""The generated sets by name, each with the function that makes it of its options."""

from collections.abc import Callable
from typing import Any, Final

from workers.datasets.digit_scenes import make_digit_scenes
from workers.datasets.fake import make_fake
from workers.datasets.generated import make_separable, make_sunshine, make_too_hot
from workers.datasets.raw import RawData

MAKERS: Final[dict[str, Callable[[Any], RawData]]] = {
    "sunshine": make_sunshine,
    "too_hot": make_too_hot,
    "digit_scenes": make_digit_scenes,
    "separable": make_separable,
    "fake": make_fake,
}
