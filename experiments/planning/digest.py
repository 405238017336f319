"""One hash of plain data, for all that is named by its content."""

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """Hash JSON-ready data; equal data give equal digests, however it is ordered."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
