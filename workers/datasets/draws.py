"""Chance for generated data: the same numbers on every machine and with every version.

All comes from the raw output of Philox-4x64 (Salmon et al. 2011), which stays as it is, as a
library's distributions might not.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


class Draws:
    """A stream of random numbers that has a name."""

    def __init__(self, *name: object) -> None:
        """Start the stream; its key is the first 16 bytes of SHA-256 over `part/part/...`."""
        text = "/".join(map(str, name))
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
        self._bits = np.random.Philox(key=key)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw 64-bit words, (count,)."""
        return self._bits.random_raw(count)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw numbers above 0 and at most 1, multiples of 2^-53, (count,)."""
        return ((self.words(count) >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53

    def below(self, bound: int, count: int) -> NDArray[np.int64]:
        """Draw whole numbers from 0 to bound - 1, (count,); bound is at most 2^32.

        The upper 32 bits of a word times the bound, without the lower 32 bits: uneven by
        less than bound / 2^32.
        """
        halves = self.words(count) >> np.uint64(32)
        return ((halves * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)

    def normal(self, count: int) -> NDArray[np.float64]:
        """Draw standard normal numbers, (count,), by the cosine half of Box and Muller (1958).

        Logarithm and cosine may differ between platforms in the last of their 53 bits; what
        is rounded afterwards, to a pixel or to float32, then practically never does.
        """
        lengths = np.sqrt(-2 * np.log(self.uniform(count)))
        normal: NDArray[np.float64] = lengths * np.cos(2 * np.pi * self.uniform(count))
        return normal
