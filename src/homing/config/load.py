"""From defaults, ``homing.toml``, the environment and flags to one `Settings`, or to an error that says what to do."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from homing.config.address import without_login
from homing.config.settings import ALL, KEYS, LATER, MESSAGES_DAYS, ROLES, SQLITE, Secret, Security, Settings
from homing.errors import ConfigError

_PREFIX: Final = "HOMING_"
_HIDDEN: Final = "[hidden]"

Origin = Literal["default", "file", "environment", "flag"]


class Option(NamedTuple):
    """One key as it was resolved."""

    key: str
    value: object
    origin: Origin
    default: object
    reason: str


class Loaded(NamedTuple):
    """The settings and where each value that is no default came from."""

    settings: Settings
    origins: Mapping[str, Origin]

    def options(self) -> list[Option]:
        """Return every key with value, origin, default and reason; secrets and user parts of URLs hidden."""
        return [
            Option(name, _shown(_value(self.settings, name)), self.origins.get(name, "default"), *key[:2])
            for name, key in KEYS.items()
        ]


def _value(settings: Settings, name: str) -> object:
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def _shown(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        return without_login(value, _HIDDEN)
    return _HIDDEN if isinstance(value, Secret) else value


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Resolve all settings: flags over environment over file over defaults.

    ``file`` None takes ``homing.toml`` of the working directory if there is one. ``flags`` are keyed like
    ``server.listen``; None there means: not given. Raises `ConfigError` naming the key and what would be right.
    """
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    sources: tuple[tuple[Origin, dict[str, object]], ...] = (
        ("file", _from_file(file)),
        ("environment", _from_environment(os.environ if environ is None else environ)),
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
    )
    for origin, given in sources:
        for key, value in given.items():
            _refuse_unknown(key)
            values[key] = value
            origins[key] = origin
    tree: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        choices = KEYS[name].choices if name in KEYS else ()
        what = f"must be one of {', '.join(choices)}" if choices else text[:1].lower() + text[1:]
        raise ConfigError(f"{name}: {what}") from error
    _judge(settings)
    if not settings.security.master_key_file:
        security = Security(str(settings.master_key_path()))
        settings = msgspec.structs.replace(settings, security=security)
    return Loaded(settings, origins)


def _from_file(file: Path | None) -> dict[str, object]:
    path = Path("homing.toml") if file is None else file
    if file is None and not path.exists():
        return {}
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    flat: dict[str, object] = {}
    for section, part in tree.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{path}: {section} stands in no section, like [server] or [callbacks]")
        for name, value in part.items():
            flat[f"{section}.{name}"] = value
        if not part and section not in Settings.__struct_fields__:
            _refuse_unknown(section)
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for variable in sorted(environ):
        if variable.startswith(_PREFIX) and "__" in variable:
            key = variable.removeprefix(_PREFIX).lower().replace("__", ".")
            _refuse_unknown(key, f" (from {variable})")
            flat[key] = _parse(key, variable, environ[variable])
    return flat


def _parse(name: str, variable: str, text: str) -> object:
    """Read a variable as its key's type wants it: text as it is, lists as JSON or with commas, the rest as JSON."""
    key = KEYS[name]
    if key.is_text or key.choices:
        return text
    try:
        value = msgspec.json.decode(text.lower() if isinstance(key.default, bool) else text)
    except msgspec.DecodeError:
        value = None
    if key.is_list and not isinstance(value, list):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return parts if key.item is str else [_number(variable, part) for part in parts]
    if value is None:
        example = msgspec.json.encode(key.default).decode()
        raise ConfigError(f"{variable}: {text!r} is not a value for {name}, like {example}")
    return value


def _number(variable: str, text: str) -> object:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{variable}: {text!r} is not a number") from error


def _refuse_unknown(key: str, where: str = "") -> None:
    if key in KEYS:
        return
    for later, until in LATER.items():
        if key == later or key.startswith((f"{later}.", f"{later}[")):
            raise ConfigError(f"{key}: not yet; in this release {until}{where}")
    known = [*KEYS, *LATER]
    if "." not in key:
        sections = list(Settings.__struct_fields__)
        (nearest,) = get_close_matches(key, sections, n=1, cutoff=0)
        raise ConfigError(f"there is no section [{key}]; the nearest is [{nearest}]{where}")
    (nearest,) = get_close_matches(key, known, n=1, cutoff=0)
    raise ConfigError(f"there is no setting {key}; the nearest is {nearest}{where}")


def _judge(settings: Settings) -> None:
    """Refuse what a type cannot: values that contradict themselves, and those whose subject does not exist yet."""
    _judge_store(settings)
    _judge_roles(settings)
    _judge_listen("server.listen", settings.server.listen)
    if settings.server.metrics_listen:
        _judge_listen("server.metrics_listen", settings.server.metrics_listen)
    if settings.server.processes > 1 and not settings.store.is_shared:
        raise ConfigError(
            "server.processes: the embedded store has one process; several share a postgresql:// (store.url)"
        )
    if not re.fullmatch(r"(https?://[^/\s@?#]+(/[^\s?#]*)?)?", settings.server.base_url):
        raise ConfigError("server.base_url: must be like https://homing.example, without query or user")
    for entry in settings.callbacks.allow:
        _judge_allow(entry)


def _judge_roles(settings: Settings) -> None:
    roles = set(settings.server.roles)
    if not roles:
        raise ConfigError(f"server.roles: must name one at least of {', '.join(ROLES)}")
    if unknown := roles - {*ROLES, ALL}:
        raise ConfigError(f"server.roles: there is no role {min(unknown)!r}, only {', '.join(ROLES)}")
    missing = [role for role in ROLES if role not in roles and ALL not in roles]
    if missing and not settings.store.is_shared:
        raise ConfigError(
            f"server.roles: {', '.join(missing)} cannot be left out: the embedded store has one process, and nobody "
            "else would do that; several nodes share a postgresql://"
        )


def _judge_store(settings: Settings) -> None:
    url = settings.store.url
    if 0 < settings.store.retention_messages_days < MESSAGES_DAYS:
        raise ConfigError(
            f"store.retention_messages_days: must be {MESSAGES_DAYS} or more, or 0 for ever: what is younger may have something to come"
        )
    if settings.store.is_shared:
        if not settings.security.master_key_file:
            raise ConfigError(
                "security.master_key_file: must be given where the store is a PostgreSQL: all its nodes have one key"
            )
        return
    path = settings.store.path()
    if not url.startswith(SQLITE) or Path(path).name in {"", ".."} or any(sign in path for sign in "?#:\0"):
        raise ConfigError(
            f"store.url: {without_login(url, _HIDDEN)!r} is not like sqlite:///DIR/homing.db or postgresql://USER@HOST/DATABASE"
        )


def _judge_listen(key: str, listen: str) -> None:
    host, colon, port = listen.rpartition(":")
    is_bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or is_bare or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise ConfigError(f"{key}: {listen!r} is not host:port, like 127.0.0.1:8480 or [::1]:8480")


def _judge_allow(entry: str) -> None:
    try:
        ipaddress.ip_network(entry)
    except ValueError as error:
        if "/" in entry or not re.fullmatch(r"[^\s:/?#@\[\]]+", entry):
            raise ConfigError(
                f"callbacks.allow: {entry!r} is neither a host nor a range ({error})"
            ) from error
        if not entry.isascii():
            _judge_international(entry)


def _judge_international(host: str) -> None:
    import idna  # a big table that nearly no start needs

    try:
        idna.encode(host.lower())
    except UnicodeError as error:
        raise ConfigError(f"callbacks.allow: {host!r} is no international name ({error})") from error
