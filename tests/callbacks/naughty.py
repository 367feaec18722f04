"""Strings that end lines, change meanings or break readers: what every field and header is tried with."""

import sys
import unicodedata
from typing import Final

LINE_ENDS: Final = ("\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")
"""Whatever some reader takes for the end of a line or of a string."""

NAUGHTY: Final = (
    "", " ", "\t", "undefined", "null", "NaN", "-1", "1e400", "0x0", "true", "\\", "\\u0000", "'", '"', "`", "%", "%0d%0aX: y", "%00",
    "<script>alert(1)</script>", "';DROP TABLE lanes;--", "${7*7}", "{{7*7}}", "../../etc/passwd", "a&b=c;d", "a+b c", "#?/", "http://a@b",
    "Ω≈ç√∫", "社會科學院語學研究所", "ﷺ", "ﬁ", "Ⅻ", "İı", "ß", "👩‍👩‍👧‍👦", "🇮🇹", "e\u0301", "\ufeffx", "a\u202eb", "\u200b", "Z\u0351\u0348a",
    "\u2066x\u2069", "\x1b[31m", "\x7f", "\xa0", "\xad", "𝓤", "\U000e0001", "\U0010ffff", "\ufffe", "ｔｅｓｔ", "x" * 5_000,
    *(f"a{end}X-Injected: yes" for end in LINE_ENDS),
    *(f"a{end}{end}GET / HTTP/1.1{end}" for end in LINE_ENDS),
    *LINE_ENDS,
)  # fmt: skip


def of_category_c(*, every: int = 1) -> list[str]:
    """All controls, formats and surrogates; of the private and unassigned ones, 968 thousand, every so-manieth."""
    others = [
        chr(point) for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) in {"Co", "Cn"}
    ]
    named = [
        chr(point)
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) in {"Cc", "Cf", "Cs"}
    ]
    return named + others[::every]
