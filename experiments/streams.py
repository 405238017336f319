"""Seeds by name: what is random in a trial, and from where each purpose draws.

Initial weights, the order of the data, augmentation and dropout each have a stream of their
own, and all but the first a new one for every epoch. So a trial gives the same numbers alone,
after another one on the same worker, or resumed at the start of an epoch.
"""

import hashlib
from typing import Final

PURPOSES: Final = frozenset({"weights", "order", "dropout", "augmentation"})


def stream_seed(seed: int, purpose: str, *parts: int) -> int:
    """Derive the seed of one stream: 63 bits, the same on every machine and version.

    The seed is the first 8 bytes of SHA-256 over `seed/purpose/part/...`, top bit cleared.

    Args:
        seed: The trial's seed.
        purpose: What the stream is for, one of `PURPOSES`.
        *parts: Which of several streams of that purpose, such as the epoch.
    """
    assert purpose in PURPOSES, purpose
    name = "/".join((str(seed), purpose, *map(str, parts)))
    digest = hashlib.sha256(name.encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") & (2**63 - 1)
