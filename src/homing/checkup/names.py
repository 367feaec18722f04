"""What names resolve to: many at a time, each for a short while only, for a resolver that hangs must not hang a check."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

LOOK_UP_S: Final = 2.0
AT_ONCE: Final = 32
ALL_S: Final = 20.0
"""After this no further look-up begins."""
_NO_SUCH_NAME: Final = frozenset(
    number for number in (getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")) if number
)


class Resolved(NamedTuple):
    """The addresses of a name; none, and why. ``is_unknown``: there is no such name, and asking again will not help."""

    addresses: tuple[str, ...] = ()
    fault: str = ""
    is_unknown: bool = False


def resolve(names: Iterable[str], *, each_s: float = LOOK_UP_S, all_s: float = ALL_S) -> dict[str, Resolved]:
    """Return what each name resolves to, by the machine's own resolver, as a callback would ask it."""
    found: dict[str, Resolved] = {}
    until_s = time.monotonic() + all_s
    for some in _portions(sorted(set(names)), AT_ONCE):
        if time.monotonic() >= until_s:
            found.update(dict.fromkeys(some, Resolved(fault="not looked up: the other names took too long")))
            continue
        answers: dict[str, Resolved] = {}
        # Threads that nobody has to wait for: a look-up cannot be taken back.
        threads = [threading.Thread(target=_look_up, args=(name, answers), daemon=True) for name in some]
        for thread in threads:
            thread.start()
        enough_s = time.monotonic() + each_s
        for thread in threads:
            thread.join(max(0.0, enough_s - time.monotonic()))
        late = Resolved(fault=f"the name was not resolved within {each_s:g} s")
        found.update({name: answers.get(name, late) for name in some})
    return found


def _look_up(name: str, answers: dict[str, Resolved]) -> None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        fault = f"the name could not be resolved ({error.strerror})"
        answers[name] = Resolved(fault=fault, is_unknown=error.errno in _NO_SUCH_NAME)
    except (OSError, UnicodeError) as error:
        answers[name] = Resolved(fault=f"the name could not be resolved ({error})")
    else:
        answers[name] = Resolved(tuple(dict.fromkeys(str(address[0]) for *_, address in found)))


def _portions(names: list[str], count: int) -> Iterator[list[str]]:
    for start in range(0, len(names), count):
        yield names[start : start + count]
