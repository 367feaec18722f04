"""Which strings are possible phone numbers. The metadata is loaded at the first question that needs it."""

import re
from typing import Final

_LIKE_A_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ().\-/]{3,24}\Z")
"""Anything else is no number in any country, and needs no metadata to know."""


def e164(text: str, region: str | None = None) -> str | None:
    """Return a possible number as ``+`` and digits, or None.

    Without ``+`` or ``00`` it is national where a ``region`` (ISO 3166) is given, else international, as the
    compatible API writes numbers. Possible, not valid: numbering plans change faster than libraries.
    """
    if not _LIKE_A_NUMBER.match(text):
        return None
    import phonenumbers

    if text.startswith("00"):
        text = "+" + text[2:]
    tries = [text] if text.startswith("+") else ([text] if region else []) + ["+" + text]
    for candidate in tries:
        try:
            number = phonenumbers.parse(candidate, None if candidate.startswith("+") else region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None
