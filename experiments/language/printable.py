"""How a spec's text and numbers are written where people read them: lines, labels, messages.

A spec may come from a stranger. What it says must not steer a terminal: `printable` writes
out every character that is none to look at.
"""

import unicodedata


def printable(text: str, *, keep: str = "") -> str:
    r"""Write characters without a sign as `\x1b`, `\u202e` or `\U000e0001`; spaces stay.

    They are controls, changes of direction, line separators, surrogates, and what Unicode has
    not assigned. `keep` names those that stay as they are, such as a line break in a text of
    several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        character if _has_sign(character) or character in keep else _escaped(character)
        for character in text
    )


def spreadsheet_cell(text: str) -> str:
    """Keep a text in a CSV file from steering a terminal, or a spreadsheet.

    What a spreadsheet would compute gets a `'` before it (OWASP, CSV injection).
    """
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(("=", "+", "-", "@")) else shown


def number_text(value: float) -> str:
    """Write a number shortly and so that different ones differ: `1`, `0.1`, `0.0005`, `1e-05`."""
    return repr(value).removesuffix(".0")


def _has_sign(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
