"""The vault: what it seals only it opens, only for the same context; and the file its key lives in."""

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homing.errors import ConfigError, HomingError, WrongMasterKey
from homing.telemetry import configure
from homing.vault import Vault

VAULT = Vault(bytes(range(32)))


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_again(plain: bytes, context: str) -> None:
    """Whatever the secret and the context, and never sealed twice the same."""
    sealed = VAULT.seal(plain, context)
    assert VAULT.open(sealed, context) == plain
    assert len(sealed) == len(plain) + 36
    assert VAULT.seal(plain, context) != sealed
    assert sealed.startswith(bytes.fromhex(VAULT.key_id))


def test_another_context_does_not_open() -> None:
    """A sealed secret moved to another row is refused."""
    with pytest.raises(HomingError, match="endpoint:2"):
        VAULT.open(VAULT.seal(b"whsec", "endpoint:1"), "endpoint:2")


@pytest.mark.parametrize("place", [8, 20, -1])
def test_an_altered_secret_does_not_open(place: int) -> None:
    """One bit in nonce, ciphertext or tag is enough."""
    sealed = bytearray(VAULT.seal(b"whsec", "c"))
    sealed[place] ^= 1
    with pytest.raises(HomingError, match="damaged"):
        VAULT.open(bytes(sealed), "c")


@pytest.mark.parametrize("length", [8, 15, 25])
def test_a_cut_secret_does_not_open(length: int) -> None:
    """Too short for a nonce or a tag is damaged, not a crash."""
    with pytest.raises(HomingError, match="damaged"):
        VAULT.open(VAULT.seal(b"whsec", "c")[:length], "c")


def test_another_key_is_told_as_such() -> None:
    """The key's id says so, and the error names the setting to check."""
    other = Vault(bytes(32))
    assert other.key_id != VAULT.key_id
    with pytest.raises(WrongMasterKey, match="master_key_file"):
        other.open(VAULT.seal(b"whsec", "c"), "c")


def test_derived_keys_differ_by_purpose_and_key() -> None:
    """None of them tells another, and the key's id is none of them."""
    keys = {VAULT.derive("a"), VAULT.derive("b"), Vault(bytes(32)).derive("a"), VAULT.derive("a")}
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)


def test_a_vault_does_not_show_its_key() -> None:
    """Neither in a log nor in a traceback."""
    assert repr(VAULT) == f"Vault({VAULT.key_id})"


def test_a_missing_key_is_made_once(tmp_path: Path) -> None:
    """Only its owner may read it; the next start loads the same; nothing else is left behind."""
    path = tmp_path / "data" / "master.key"
    vault = Vault.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    assert Vault.load_or_create(path).key_id == vault.key_id
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]
    assert Vault.load_or_create(tmp_path / "other.key").key_id != vault.key_id


@pytest.mark.parametrize(
    "text",
    [b"", b"short", b"not base64 at all, is it?", base64.b64encode(bytes(31)), base64.b64encode(bytes(33))],
)
def test_a_file_that_holds_no_key_is_refused(text: bytes, tmp_path: Path) -> None:
    """It is left as it is, and the error names the setting."""
    path = tmp_path / "master.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="master_key_file"):
        Vault.load_or_create(path)
    assert path.read_bytes() == text


def test_a_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A directory in its place is the operator's to mend."""
    with pytest.raises(ConfigError, match="master_key_file"):
        Vault.load_or_create(tmp_path)


def test_a_key_others_may_read_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It works, for secrets are mounted like that in places, but the operator hears of it."""
    configure("text", "warning")  # a node of another test may have left the process quieter
    path = tmp_path / "master.key"
    path.write_bytes(base64.b64encode(bytes(range(32))) + b"\n")
    path.chmod(0o640)
    assert Vault.load_or_create(path).key_id == VAULT.key_id
    told = capsys.readouterr().err
    assert "config.warned" in told
    assert "0640" in told
