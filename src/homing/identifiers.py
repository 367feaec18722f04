"""How the identifiers of an application's users compare: by NFC and casefold, whatever their spelling (CONTRACT.md §2)."""

from unicodedata import normalize


def fold_identifier(identifier: str) -> str:
    """Return the form under which an identifier is looked up; the spelling that was registered is what is shown."""
    if identifier.isascii():
        return identifier.lower()
    return normalize("NFC", normalize("NFC", identifier).casefold())
