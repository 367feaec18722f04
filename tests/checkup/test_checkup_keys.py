"""The item keys: the master key is the store's and nobody else may read it."""

import base64
import os
from pathlib import Path

import pytest
from tests.checkup.site import Site

from homing.checkup import keys
from homing.checkup.item import State
from homing.vault import Vault


def test_the_right_key_is_well(site: Site) -> None:
    """Its mode and id are told, with the advice to keep a copy elsewhere."""
    site.fill()
    found = site.one("keys")
    assert found.state is State.OK
    assert found.found == f"master.key 0600, key {Vault.load(site.key).key_id} is the store's"
    assert found.hint == "back the key up apart from the store"


def test_a_key_apart_from_the_store_needs_no_advice(site: Site, tmp_path: Path) -> None:
    """security.master_key_file says where it is."""
    site.fill()
    apart = tmp_path / "secrets" / "homing.key"
    apart.parent.mkdir()
    site.key.rename(apart)
    site.flags["security.master_key_file"] = str(apart)
    found = site.one("keys")
    assert (found.state, found.hint) == (State.OK, "")


def test_before_the_first_start_there_is_no_key(site: Site) -> None:
    """That is no fault; one that is there already is told."""
    assert site.one("keys").state is State.OK
    apart = site.data.parent / "secrets" / "homing.key"
    site.flags["security.master_key_file"] = str(apart)
    key_id = Vault.load_or_create(apart).key_id
    assert (site.one("keys").state, site.one("keys").found) == (State.OK, f"homing.key 0600, key {key_id}")
    site.data.mkdir(mode=0o700)
    assert site.one("keys").state is State.OK


def test_a_store_without_its_key_fails(site: Site) -> None:
    """And no new one is made in its place."""
    site.fill()
    site.key.unlink()
    found = site.one("keys")
    assert found.state is State.FAIL
    assert "missing" in found.found
    assert "security.master_key_file" in found.hint
    assert not site.key.exists()


def test_a_store_under_another_key_fails(site: Site) -> None:
    """Both ids are told, and the setting that names the file."""
    site.fill()
    wanted = Vault.load(site.key).key_id
    site.key.write_bytes(base64.b64encode(bytes(range(32))))
    found = site.one("keys")
    assert found.state is State.FAIL
    assert f"key {Vault(bytes(range(32))).key_id}, but the store is sealed under key {wanted}" in found.found
    assert "security.master_key_file" in found.hint


@pytest.mark.parametrize("content", [b"", b"not base64!", base64.b64encode(bytes(31))])
def test_what_is_no_key_fails(content: bytes, site: Site) -> None:
    """It is told which setting names the file."""
    site.fill()
    site.key.write_bytes(content)
    found = site.one("keys")
    assert found.state is State.FAIL
    assert "security.master_key_file" in found.hint


def test_a_key_that_cannot_be_read_fails(site: Site) -> None:
    """A directory in its place, for one."""
    site.fill()
    site.key.unlink()
    site.key.mkdir(mode=0o700)
    found = site.one("keys")
    assert found.state is State.FAIL
    assert "cannot be read" in found.found


@pytest.mark.parametrize(
    ("mode", "state"), [(0o400, "ok"), (0o640, "warn"), (0o644, "FAIL"), (0o620, "FAIL")]
)
@pytest.mark.parametrize("name", ["master.key", "admin-token"])
def test_a_secret_that_others_may_read_is_told(name: str, mode: int, state: str, site: Site) -> None:
    """A group that may read is a warning, for secrets are mounted like that; anything more FAILs, with the command."""
    site.fill()
    (site.data / "admin-token").touch(mode=0o600)
    (site.data / name).chmod(mode)
    found = site.one("keys")
    assert found.state == state
    assert f"{name} {mode:04o}" in found.found
    assert (f"chmod 600 {site.data / name}" in found.hint) is (state != "ok")


@pytest.mark.parametrize(("mode", "state"), [(0o700, "ok"), (0o750, "warn"), (0o777, "FAIL")])
def test_a_data_directory_that_others_may_enter_is_told(mode: int, state: str, site: Site) -> None:
    """SQLite's own files in it have no mode of their own."""
    site.fill()
    site.data.chmod(mode)
    found = site.one("keys")
    assert found.state == state
    assert (f"chmod 700 {site.data}" in found.hint) is (state != "ok")


def test_a_key_belongs_to_the_stores_owner_or_to_root() -> None:
    """To anyone else it FAILs, and both are named."""
    key = Path("master.key")
    assert list(keys.owner(key, 1000, 1000)) == []
    assert list(keys.owner(key, 0, 1000)) == []
    (found,) = keys.owner(key, 2**31 - 7, 0)
    assert found.state is State.FAIL
    assert found.text == f"master.key belongs to {2**31 - 7}, the store to root"
    assert os.fspath(key) in found.hint
