"""Which script a text is written in, told from a sample. It is no language: many write Latin."""

import bisect
from collections import Counter

_SAMPLE = 400
# First code point of each block and its script; up to the next block's first (Unicode Blocks).
_BLOCKS: tuple[tuple[int, str], ...] = (
    (0x0000, ""), (0x0041, "latin"), (0x005B, ""), (0x0061, "latin"), (0x007B, ""),
    (0x00C0, "latin"), (0x0250, ""), (0x0370, "greek"), (0x0400, "cyrillic"), (0x0530, "armenian"),
    (0x0590, "hebrew"), (0x0600, "arabic"), (0x0700, ""), (0x0900, "devanagari"),
    (0x0980, "bengali"), (0x0A00, ""), (0x0B80, "tamil"), (0x0C00, "telugu"), (0x0C80, ""),
    (0x0E00, "thai"), (0x0E80, ""), (0x10A0, "georgian"), (0x1100, "hangul"), (0x1200, ""),
    (0x1E00, "latin"), (0x1F00, "greek"), (0x2000, ""), (0x3040, "kana"), (0x3100, ""),
    (0x3400, "han"), (0x4DC0, ""), (0x4E00, "han"), (0xA000, ""), (0xAC00, "hangul"), (0xD7B0, ""),
    (0xF900, "han"), (0xFB00, ""), (0x20000, "han"), (0x323B0, ""),
)  # fmt: skip
_FIRSTS = [first for first, _ in _BLOCKS]
SCRIPTS = frozenset(script for _, script in _BLOCKS if script)


def script_of(text: str) -> str | None:
    """The commonest script among the first letters of a text, or None where it has none.

    Japanese mixes kana and han: any kana among han makes it kana.
    """
    found = Counter(_BLOCKS[bisect.bisect(_FIRSTS, ord(sign)) - 1][1] for sign in text[:_SAMPLE])
    del found[""]
    if not found:
        return None
    script = found.most_common(1)[0][0]
    return "kana" if script == "han" and found["kana"] else script
