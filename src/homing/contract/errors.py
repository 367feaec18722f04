"""Every error the contract raises, in one tree; each says whose fault it is.

::

    ContractError               the root; nothing in this package raises anything else for bad input
    ├── Unencodable             ours: a value that no form can carry (lone surrogate, empty mandatory key)
    ├── Undecodable             the sender's: a request that is not a callback of this contract
    ├── BadSecret               the configuration's: not ``whsec_`` + base64 of 24 to 64 bytes
    └── NotVerified             a request that must not be trusted
        ├── Malformed               a header is missing or not of its grammar
        ├── BadSignature            no signature fits id, timestamp, payload and any secret
        ├── TooOld                  genuine, but sent too long ago: a replay, or a clock that is ahead
        └── TooNew                  genuine, but from the future: a clock that is behind
"""


class ContractError(ValueError):
    """Something does not fit the callback contract; the text says what, and never holds a secret."""


class Unencodable(ContractError):
    """This notification cannot be put on the wire; trying again will not help."""


class Undecodable(ContractError):
    """This request does not carry a notification of the contract."""


class BadSecret(ContractError):
    """This is no callback secret."""


class NotVerified(ContractError):
    """This request is not proven to come from the holder of the secret, now."""


class Malformed(NotVerified):
    """A Standard Webhooks header is missing or malformed."""


class BadSignature(NotVerified):
    """No signature matches."""


class TooOld(NotVerified):
    """The signature is right, but the request was sent too long ago."""


class TooNew(NotVerified):
    """The signature is right, but the request comes from the future."""
