"""Whether the master key is there, is the store's, and is nobody else's to read; likewise the admin token."""

import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from homing.checkup.case import Case
from homing.checkup.item import AS_USER, Finding, Item, State, item
from homing.errors import ConfigError
from homing.vault import Vault

_SETTING: Final = "security.master_key_file"


class Access(NamedTuple):
    """Which bits of a file's mode are a fault, which are worth a word, and the mode that is right."""

    faulty: int
    odd: int
    right: int


SECRET: Final = Access(faulty=0o037, odd=0o040, right=0o600)
"""A group that may read is how secrets are mounted in places."""
FOLDER: Final = Access(faulty=0o022, odd=0o055, right=0o700)


def check(case: Case) -> list[Item]:
    """Return the item ``keys``."""
    return [item("keys", [*_master_key(case), *_admin_token(case), *_folder(case)])]


def _master_key(case: Case) -> Iterator[Finding]:
    path = case.settings.master_key_path()
    if not path.exists():
        if case.settings.store.is_shared:
            hint = "copy it from another node; for a new store: umask 077; head -c 32 /dev/urandom | base64 > FILE"
            yield Finding(f"{path} is missing", State.FAIL, hint)
            return
        if case.schema is None:
            yield Finding("no master key yet: the first start makes it")
            return
        hint = f"put it back from its backup, or set {_SETTING}; a new one does not open the store"
        yield Finding(f"{path} is missing", State.FAIL, hint)
        return
    found = path.stat()
    yield access(path.name, path, stat.S_IMODE(found.st_mode), SECRET)
    for place in (case.store, case.data):
        if place.exists():
            yield from owner(path, found.st_uid, place.stat().st_uid)
            break
    try:
        key_id = Vault.load(path).key_id
    except ConfigError as error:
        may_not = isinstance(error.__cause__, PermissionError)
        hint = AS_USER if may_not else f"put the key back from its backup, or set {_SETTING}"
        yield Finding(error.detail, State.FAIL, hint)
        return
    if case.schema is None:
        yield Finding(f"key {key_id}")
        return
    wanted = case.key_id()
    if key_id != wanted:
        hint = f"set {_SETTING} to the file that holds key {wanted}"
        yield Finding(f"key {key_id}, but the store is sealed under key {wanted}", State.FAIL, hint)
        return
    beside = path.absolute().parent == case.data.absolute()
    yield Finding(
        f"key {key_id} is the store's", hint="back the key up apart from the store" if beside else ""
    )


def _admin_token(case: Case) -> Iterator[Finding]:
    path = case.data / "admin-token"
    if path.exists():
        yield access("admin-token", path, stat.S_IMODE(path.stat().st_mode), SECRET)


def _folder(case: Case) -> Iterator[Finding]:
    # Where the store is elsewhere, this is whatever directory the key is kept in.
    if case.data.exists() and not case.settings.store.is_shared:
        found = access("the data directory", case.data, stat.S_IMODE(case.data.stat().st_mode), FOLDER)
        if found.state is not State.OK:
            yield found


def access(what: str, path: Path, mode: int, wanted: Access) -> Finding:
    """Return what a file's mode means."""
    told = f"{what} {mode:04o}"
    if not mode & (wanted.faulty | wanted.odd):
        return Finding(told)
    state = State.FAIL if mode & wanted.faulty else State.WARN
    return Finding(f"{told}: open to others", state, f"chmod {wanted.right:o} {path}")


def owner(path: Path, uid: int, store_uid: int) -> Iterator[Finding]:
    """Yield a finding where a key belongs neither to the store's owner nor to root."""
    if uid not in {0, store_uid}:
        told = f"{path.name} belongs to {_name(uid)}, the store to {_name(store_uid)}"
        yield Finding(told, State.FAIL, f"chown {_name(store_uid)} {path}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
