"""PostgreSQL's protocol as a proxy hears it: bytes in, whole messages out, and a count of what they cost. No socket.

Message formats: PostgreSQL documentation, 55.2 and 55.7. A conversation that turns to TLS becomes opaque: its bytes
pass as messages of the kind ``?``, and nothing is counted.
"""

from typing import Final, Self

import msgspec

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_ASKS: Final = frozenset("QSHF")
"""What a client sends last before it waits: query, sync, flush, function call. asyncpg copies without a second wait."""
_UNASKED: Final = frozenset("NASK")
"""What a server says without being asked: notice, notification, a parameter's new value, a key."""

DISMISSAL: Final = (
    b"E\0\0\0\x4fSFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
)
"""A server's last word to a session that it ends."""


class Message(msgspec.Struct, frozen=True):
    """One whole message of one direction."""

    kind: str
    """Its type byte; ``startup``, ``encryption`` or ``cancel`` for those that have none; ``?`` unreadable."""
    data: bytes
    start: int
    """How many bytes went before it in its direction."""
    text: str = ""
    """The SQL of a query, parse, bind or execute; the tag of a command that is complete."""

    @property
    def end(self) -> int:
        """How many bytes went in its direction with it."""
        return self.start + len(self.data)


class Counts(msgspec.Struct, frozen=True):
    """What clients asked of a server, after they had logged in."""

    round_trips: int = 0
    """How often a client waited for an answer, however much it had asked for at once."""
    statements: int = 0
    """Queries and executions."""
    parses: int = 0
    completed: int = 0
    """Commands that the server said are complete: several in one query count each."""
    commits: int = 0
    bytes_to_server: int = 0
    bytes_to_client: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) - getattr(other, name) for name in self.__struct_fields__))


class _Stream:
    """One direction's bytes, cut into messages."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self.passed = 0

    def take(self, length: int, kind: str, text: str = "") -> Message:
        message = Message(kind, bytes(self.rest[:length]), self.passed, text)
        del self.rest[:length]
        self.passed += length
        return message

    def length(self, offset: int) -> int | None:
        """The length of the next message, whose length field stands at `offset`; None while it is incomplete."""
        if len(self.rest) < offset + 4:
            return None
        length = offset + int.from_bytes(self.rest[offset : offset + 4])
        return length if len(self.rest) >= length else None


class Conversation:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.statements: list[str] = []
        """The SQL of each query and execution, in their order."""
        self._client, self._server = _Stream(), _Stream()
        self._is_started = self._is_ready = self._is_opaque = False
        self._is_asked_to_encrypt = False
        self._has_answered = True
        self._prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}

    def from_client(self, data: bytes) -> list[Message]:
        """Take bytes that a client sent, and return the messages that are whole with them."""
        stream = self._client
        stream.rest += data
        messages = []
        while stream.rest:
            if self._is_opaque:
                messages.append(stream.take(len(stream.rest), "?"))
            elif (length := stream.length(1 if self._is_started else 0)) is None:
                break
            else:
                messages.append(self._asked(length) if self._is_started else self._opened(length))
        return messages

    def from_server(self, data: bytes) -> list[Message]:
        """Take bytes that a server sent, and return the messages that are whole with them."""
        stream = self._server
        stream.rest += data
        messages = []
        while stream.rest:
            if self._is_opaque:
                messages.append(stream.take(len(stream.rest), "?"))
            elif self._is_asked_to_encrypt:
                self._is_asked_to_encrypt = False
                messages.append(stream.take(1, "encryption"))
                self._is_opaque = messages[-1].data in {b"S", b"G"}
            elif (length := stream.length(1)) is None:
                break
            else:
                messages.append(self._answered(length))
        return messages

    def rest(self, *, of_client: bool) -> bytes:
        """Return the beginning of a message that never became whole, at the end of its direction."""
        return bytes((self._client if of_client else self._server).rest)

    def _opened(self, length: int) -> Message:
        code = int.from_bytes(self._client.rest[4:8])
        self._is_asked_to_encrypt = code in {_SSL, _GSS}
        self._is_started = not self._is_asked_to_encrypt
        kind = "encryption" if self._is_asked_to_encrypt else "cancel" if code == _CANCEL else "startup"
        return self._client.take(length, kind)

    def _asked(self, length: int) -> Message:
        self._count(bytes_to_server=length)
        kind = chr(self._client.rest[0])
        text = self._sql(kind, bytes(self._client.rest[5:length]))
        if kind in _ASKS:
            self._count(round_trips=int(self._has_answered))
            self._has_answered = False
        if kind in "QE":
            self._count(statements=1)
            if self._is_ready:
                self.statements.append(text)
        elif kind == "P":
            self._count(parses=1)
        return self._client.take(length, kind, text)

    def _sql(self, kind: str, body: bytes) -> str:
        """The statement that a message is about: it names it, or the name of what holds it."""
        names = [it.decode("utf-8", "replace") for it in body.split(b"\0", 2)]
        match kind:
            case "Q":
                return names[0]
            case "P":
                self._prepared[names[0]] = names[1]
                return names[1]
            case "B":
                self._portals[names[0]] = self._prepared.get(names[1], "")
                return self._portals[names[0]]
            case "E":
                return self._portals.get(names[0], "")
            case _:
                return ""

    def _answered(self, length: int) -> Message:
        self._count(bytes_to_client=length)
        kind = chr(self._server.rest[0])
        text = ""
        if kind == "C":
            text = bytes(self._server.rest[5 : length - 1]).decode("utf-8", "replace")
            self._count(completed=1, commits=int(text == "COMMIT"))
        if kind not in _UNASKED:
            self._has_answered = True
        if kind == "Z":
            self._is_ready = True
        return self._server.take(length, kind, text)

    def _count(self, **more: int) -> None:
        if self._is_ready:
            self.counts += Counts(**more)
