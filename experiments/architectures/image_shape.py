"""The shape of an image as a value of a spec."""

from dataclasses import dataclass
from typing import Any

from experiments.language.kinds import Faults, Integer, Kind, Schema
from experiments.language.source import Node

ImageShape = tuple[int, int, int]
"""(channels, height, width)"""


@dataclass(frozen=True, slots=True)
class ImageDimensions(Kind):
    """The shape of an image, `[channels, height, width]`; given as a tuple."""

    maximum: int = 4096

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"[channels, height, width], each {self._side.what}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read `(channels, height, width)`."""
        found = faults.aside()
        items = node.items() if node.kind == "list" else ()
        values = tuple(self._side.read(item, path, found) for item in items)
        return values if len(values) == 3 and not found else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give an array of three integers."""
        return {"type": "array", "items": self._side.schema(), "minItems": 3, "maxItems": 3}

    @property
    def _side(self) -> Integer:
        return Integer(1, self.maximum)
