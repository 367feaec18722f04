"""Settings: where they come from, which wins, and what is refused with which words."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homing.config import KEYS, LATER, ROLES, Loaded, Role, Secret, Settings, load
from homing.config.address import without_login
from homing.config.load import _shown as hidden
from homing.errors import ConfigError

SHARED = {"HOMING_STORE__URL": "postgresql://h/x", "HOMING_SECURITY__MASTER_KEY_FILE": "/k/one.key"}


def refusal(environ: Mapping[str, str]) -> str:
    """Return with which words this environment is refused."""
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    return caught.value.detail


def refused_file(tmp_path: Path, text: str) -> str:
    """Return with which words this file is refused."""
    path = tmp_path / "homing.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.detail


def value_of(loaded: Loaded, key: str) -> object:
    """Return what ``config show`` says of a key."""
    return next(option.value for option in loaded.options() if option.key == key)


def test_the_defaults_are_the_documented_ones() -> None:
    """API.md §4 to the letter, and the retry schedule of the contract."""
    settings = load(None, {}).settings
    assert settings.server.listen == "127.0.0.1:8480"
    assert settings.callbacks.user_agent == "Catapush"
    assert settings.callbacks.timeout_seconds == 15
    assert len(settings.callbacks.retry_delays_seconds) == 11
    assert settings.callbacks.allow == ()
    assert not settings.callbacks.dangerous_allow_private
    assert settings.master_key_path() == settings.data_path() / "master.key"
    assert Settings().master_key_path() == settings.master_key_path()


def test_the_master_key_may_lie_elsewhere() -> None:
    """It belongs to the data directory unless it is named."""
    environ = {"HOMING_STORE__URL": "sqlite:////srv/h/homing.db"}
    assert load(None, environ).settings.master_key_path() == Path("/srv/h/master.key")
    environ["HOMING_SECURITY__MASTER_KEY_FILE"] = "/etc/key"
    assert load(None, environ).settings.master_key_path() == Path("/etc/key")
    assert load(None, environ).settings.store.path() == "/srv/h/homing.db"


def test_every_key_has_a_reason_and_is_shown() -> None:
    """``config show`` lists each key once with origin, default and reason."""
    options = load(None, {}).options()
    assert [option.key for option in options] == list(KEYS)
    for option in options:
        assert option.reason, option.key
        assert option.origin == "default"
        if option.key != "security.master_key_file":
            assert option.value == option.default


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    """Each value knows where it came from; a flag that was not given changes nothing."""
    path = tmp_path / "some.toml"
    path.write_text('[server]\nlisten = "a:1"\n[callbacks]\nuser_agent = "file"\ntimeout_seconds = 3\n')
    environ = {"HOMING_SERVER__LISTEN": "b:2", "HOMING_CALLBACKS__USER_AGENT": "environment"}
    loaded = load(path, environ, {"server.listen": "c:3", "callbacks.user_agent": None})
    assert loaded.settings.server.listen == "c:3"
    assert loaded.settings.callbacks.user_agent == "environment"
    assert loaded.settings.callbacks.timeout_seconds == 3.0
    origins = {option.key: option.origin for option in loaded.options()}
    assert (origins["server.listen"], origins["callbacks.user_agent"]) == ("flag", "environment")
    assert (origins["callbacks.timeout_seconds"], origins["store.url"]) == ("file", "default")


def test_a_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``--config`` there may be a homing.toml or none."""
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).settings.server.listen == "127.0.0.1:8480"
    (tmp_path / "homing.toml").write_text('[server]\nlisten = "[::1]:0"\n')
    assert load(None, {}).settings.server.listen == "[::1]:0"


def test_only_names_with_two_underscores_are_configuration() -> None:
    """Tokens and addresses that the command line reads are not settings, nor are other programs' variables."""
    environ = {"HOMING_ADMIN_TOKEN": "x", "HOMING_URL": "x", "HOMING_TOKEN": "x", "OTHER_A__B": "x"}
    assert load(None, environ).origins == {}


@pytest.mark.parametrize(
    "variable,text,key,value",
    [
        (
            "HOMING_CALLBACKS__RETRY_DELAYS_SECONDS",
            "[0.1, 30]",
            "callbacks.retry_delays_seconds",
            (0.1, 30.0),
        ),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "5, 30", "callbacks.retry_delays_seconds", (5.0, 30.0)),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "5", "callbacks.retry_delays_seconds", (5.0,)),
        (
            "HOMING_CALLBACKS__ALLOW",
            '["10.0.0.0/8", "x.example"]',
            "callbacks.allow",
            ("10.0.0.0/8", "x.example"),
        ),
        ("HOMING_CALLBACKS__ALLOW", "127.0.0.1/32, ::1", "callbacks.allow", ("127.0.0.1/32", "::1")),
        ("HOMING_CALLBACKS__ALLOW", "", "callbacks.allow", ()),
        ("HOMING_CALLBACKS__MAX_IN_FLIGHT", "7", "callbacks.max_in_flight", 7),
        ("HOMING_CALLBACKS__DANGEROUS_ALLOW_PRIVATE", "True", "callbacks.dangerous_allow_private", True),
        ("HOMING_CALLBACKS__USER_AGENT", "7", "callbacks.user_agent", "7"),
        ("HOMING_TELEMETRY__LOG_LEVEL", "debug", "telemetry.log_level", "debug"),
        ("HOMING_SERVER__ROLES", "all", "server.roles", ("all",)),
        (
            "HOMING_SERVER__BASE_URL",
            "https://homing.example/x",
            "server.base_url",
            "https://homing.example/x",
        ),
        (
            "HOMING_STORE__URL",
            "sqlite:////var/lib/h/homing.db",
            "store.url",
            "sqlite:////var/lib/h/homing.db",
        ),
    ],
)
def test_a_variable_is_read_as_its_type_wants(variable: str, text: str, key: str, value: object) -> None:
    """Text as it is, lists as JSON or with commas, the rest as JSON."""
    assert value_of(load(None, {variable: text}), key) == value


@pytest.mark.parametrize(
    "variable,nearest",
    [
        ("HOMING_SERVER__LISTN", "server.listen"),
        ("HOMING_SEVER__LISTEN", "server.listen"),
        ("HOMING_CALLBACKS__TIMEOUT", "callbacks.timeout_seconds"),
        ("HOMING_STORE__RETENTION_DEAD_DAY", "store.retention_dead_days"),
        ("HOMING_X__Y__Z", "the nearest is"),
        ("HOMING__", "the nearest is"),
    ],
)
def test_an_unknown_variable_names_the_nearest_setting(variable: str, nearest: str) -> None:
    """And the variable itself, so that it is found."""
    words = refusal({variable: "1"})
    assert nearest in words
    assert variable in words


def test_an_unknown_key_of_the_file_names_the_nearest(tmp_path: Path) -> None:
    """A key, a section, an empty section, and a key outside of all sections."""
    assert "callbacks.allow" in refused_file(tmp_path, "[callbacks]\nalow = []\n")
    assert "telemetry.log_level" in refused_file(tmp_path, '[telemetri]\nlog_level = "info"\n')
    assert "[telemetry]" in refused_file(tmp_path, "[telemetri]\n")
    assert "no section" in refused_file(tmp_path, 'listen = "x:1"\n')


@pytest.mark.parametrize("key", list(LATER))
def test_what_comes_later_is_refused_and_not_ignored(key: str, tmp_path: Path) -> None:
    """As a value, as a section of its own, and from the environment."""
    section, _, name = key.partition(".")
    assert f"{key}: not yet" in refused_file(tmp_path, f"[{section}]\n{name} = 1\n")
    assert f"{key}: not yet" in refused_file(tmp_path, f"[{section}.{name}]\na = 1\n")
    assert f"{key}: not yet" in refused_file(tmp_path, f"[[{section}.{name}]]\na = 1\n")
    variable = f"HOMING_{key.replace('.', '__').upper()}"
    assert f"{key}: not yet" in refusal({variable: "1"})
    assert "not yet" in refusal({f"{variable}__A": "1"})


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/x", "postgres://u:secret@h/x"])
def test_a_postgresql_needs_a_master_key_that_was_chosen(url: str) -> None:
    """All its nodes have one, so it lies beside no store; its directory is the data directory. The password is not told."""
    words = refusal({"HOMING_STORE__URL": url})
    assert words.startswith("security.master_key_file: must be given")
    assert "secret" not in words
    settings = load(
        environ={"HOMING_STORE__URL": url, "HOMING_SECURITY__MASTER_KEY_FILE": "/k/one.key"}
    ).settings
    assert settings.store.is_shared
    assert (settings.master_key_path(), settings.data_path()) == (Path("/k/one.key"), Path("/k"))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/x",
        "postgresql:/u:/secret@h/x",
        "homing.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a/b?mode=ro",
        "sqlite:///..",
    ],
)
def test_a_store_that_is_no_file_is_refused(url: str) -> None:
    """What would be needed is told, a password is not."""
    words = refusal({"HOMING_STORE__URL": url})
    assert "sqlite:///DIR/homing.db" in words
    assert "secret" not in words


@pytest.mark.parametrize(
    ("roles", "missing"),
    [("api", "gateway, callbacks, channels"), ("gateway,callbacks", "api, channels")],
)
def test_the_embedded_store_needs_all_roles(roles: str, missing: str) -> None:
    """Nobody else would do what its one process leaves out, so that is refused, and named."""
    assert f"server.roles: {missing} cannot be left out" in refusal({"HOMING_SERVER__ROLES": roles})


def test_no_role_is_none_at_all() -> None:
    """On neither store."""
    assert "server.roles: must name one at least" in refusal({"HOMING_SERVER__ROLES": "[]"})
    assert "server.roles: must name one at least" in refusal(SHARED | {"HOMING_SERVER__ROLES": "[]"})


@pytest.mark.parametrize(
    ("roles", "had"),
    [("api", ["api"]), ("channels,gateway", ["gateway", "channels"]), ("all", list(ROLES))],
)
def test_nodes_of_a_shared_store_divide_the_roles(roles: str, had: list[str]) -> None:
    """Each has those that it names."""
    server = load(environ=SHARED | {"HOMING_SERVER__ROLES": roles}).settings.server
    assert [role for role in Role if server.has(role)] == had


def test_several_processes_share_a_database() -> None:
    """The embedded store has one, and that is said."""
    several = {"HOMING_SERVER__PROCESSES": "4"}
    assert "server.processes: the embedded store has one process" in refusal(several)
    assert load(environ=SHARED | several).settings.server.processes == 4


@pytest.mark.parametrize(
    "variable,text,words",
    [
        ("HOMING_SERVER__PROCESSES", "0", "processes: expected `int` >= 1"),
        ("HOMING_SERVER__METRICS_LISTEN", "9480", "server.metrics_listen: '9480' is not host:port"),
        ("HOMING_SERVER__ROLES", "api,cook", "no role 'cook'"),
        ("HOMING_SERVER__LISTEN", "8480", "server.listen"),
        ("HOMING_SERVER__LISTEN", "::1:80", "server.listen"),
        ("HOMING_SERVER__LISTEN", "h:65536", "server.listen"),
        ("HOMING_SERVER__LISTEN", ":80", "server.listen"),
        ("HOMING_SERVER__BASE_URL", "homing.example", "server.base_url"),
        ("HOMING_SERVER__BASE_URL", "https://u:p@homing.example", "server.base_url"),
        ("HOMING_CALLBACKS__TIMEOUT_SECONDS", "16", "callbacks.timeout_seconds: expected `float` <= 15"),
        ("HOMING_CALLBACKS__TIMEOUT_SECONDS", "soon", "HOMING_CALLBACKS__TIMEOUT_SECONDS"),
        ("HOMING_CALLBACKS__MAX_IN_FLIGHT", "0", "callbacks.max_in_flight: expected `int` >= 1"),
        ("HOMING_CALLBACKS__MAX_IN_FLIGHT", "null", "callbacks.max_in_flight"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "[]", "callbacks.retry_delays_seconds"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "5,x", "'x' is not a number"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "5,nan", "callbacks.retry_delays_seconds[1]"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "5,inf", "callbacks.retry_delays_seconds"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", "0.05", "callbacks.retry_delays_seconds"),
        ("HOMING_CALLBACKS__RETRY_DELAYS_SECONDS", ",".join(["1"] * 33), "callbacks.retry_delays_seconds"),
        ("HOMING_CALLBACKS__USER_AGENT", "", "callbacks.user_agent"),
        ("HOMING_CALLBACKS__USER_AGENT", "a\r\nb: c", "callbacks.user_agent"),
        ("HOMING_CALLBACKS__ALLOW", "10.0.0.1/8", "callbacks.allow"),
        ("HOMING_CALLBACKS__ALLOW", "http://x", "callbacks.allow"),
        ("HOMING_CALLBACKS__ALLOW", "☃.example", "callbacks.allow"),
        (
            "HOMING_TELEMETRY__LOG_LEVEL",
            "loud",
            "telemetry.log_level: must be one of debug, info, warning, error",
        ),
        ("HOMING_TELEMETRY__METRICS", "maybe", "HOMING_TELEMETRY__METRICS"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(variable: str, text: str, words: str) -> None:
    """The words say what would be right."""
    assert words in refusal({variable: text})


def test_a_file_is_strict_about_types(tmp_path: Path) -> None:
    """A number is no text and a text no number."""
    assert "server.listen: expected `str`" in refused_file(tmp_path, "[server]\nlisten = 8480\n")
    assert "callbacks.max_in_flight: expected `int`" in refused_file(
        tmp_path, '[callbacks]\nmax_in_flight = "7"\n'
    )


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """One that is named must be there, and must be TOML in UTF-8."""
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml", {})
    assert "is not TOML" in refused_file(tmp_path, "[server\n")
    (tmp_path / "latin.toml").write_bytes(b'[server]\nbase_url = "\xe9"\n')
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "latin.toml", {})


def test_settings_do_not_change_and_secrets_do_not_show() -> None:
    """A secret is seen only by the one who asks for it by name."""
    with pytest.raises(AttributeError):
        load(None, {}).settings.server.listen = "x"  # type: ignore[misc]
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"


def test_what_is_shown_hides_secrets() -> None:
    """A secret value, and the user part of a URL."""
    settings = Settings()
    server = msgspec.structs.replace(settings.server, base_url="https://u:hunter2@h/")
    shown = Loaded(msgspec.structs.replace(settings, server=server), {}).options()
    assert "hunter2" not in repr(shown)
    assert "hunter2" not in str(hidden(Secret("hunter2")))


PRINTABLE = st.characters(min_codepoint=0x20, exclude_categories=("C", "Zl", "Zp"))


@given(
    st.text(PRINTABLE, max_size=6), st.text(PRINTABLE, max_size=6), st.sampled_from(("", "?a=b", "/x@y?a=b"))
)
@example("p@", "", "")
@example("", "#x", "")
@example("", "://@", "?password=s3cr3t")
@example("?password=", "@", "")
def test_no_piece_of_a_password_is_shown(left: str, right: str, more: str) -> None:
    """Whatever stands in it, at a place where none should be too, or in an address that is spelled wrongly."""
    password = f"{left}s3cr3t{right}"
    for address in (
        f"postgresql://homing:{password}@db.example/homing{more}",
        f"postgresql:homing:{password}@db.example/homing{more}",
        f"postgresql://db.example/homing?user=homing&password={password}",
    ):
        assert "s3cr3t" not in without_login(address)
        assert "s3cr3t" not in without_login(address, "[hidden]")
        assert "s3cr3t" not in str(hidden(address)) or "://" not in address


def test_an_address_is_shown_without_its_login() -> None:
    """What is left says where the database is; a path of the embedded store is shown as it is."""
    address = "postgresql://homing:p@ss-w0rd@a:1,b/homing?target_session_attrs=primary"
    assert without_login(address) == "postgresql://a:1,b/homing"
    assert hidden(address) == "postgresql://[hidden]@a:1,b/homing?[hidden]"
    assert hidden("postgresql://a/homing") == "postgresql://a/homing"
    assert hidden("sqlite:////home/a@b/homing.db") == "sqlite:////home/a@b/homing.db"


@pytest.mark.parametrize("days", [1, 13])
def test_messages_are_kept_for_two_weeks_at_the_least(days: int) -> None:
    """What is younger may have something to come; 0 is for ever."""
    assert "must be 14 or more, or 0 for ever" in refusal(
        {"HOMING_STORE__RETENTION_MESSAGES_DAYS": str(days)}
    )
    for fine in (0, 14):
        loaded = load(None, {"HOMING_STORE__RETENTION_MESSAGES_DAYS": str(fine)})
        assert loaded.settings.store.retention_messages_days == fine
