"""Which server a verb talks to: flags, then the environment, then ``.homing/dev.json`` found upwards."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from homing.cli.exits import CliError, ExitCode, usage

DEV_FILE: Final = Path(".homing") / "dev.json"


class Dev(NamedTuple):
    """What a running `homing dev` left for the verbs beside it."""

    path: Path
    url: str
    token: str
    app_id: int
    app_key: str
    secret: str
    inbox_secret: str | None = None


class Target(NamedTuple):
    """A server and how to talk to it; ``app_id`` None where no application is meant by default."""

    url: str
    token: str
    app_id: int | None = None


def find_dev(start: Path) -> Dev | None:
    """Return what the nearest ``.homing/dev.json`` says, from ``start`` upwards; None without one."""
    for folder in (start, *start.parents):
        path = folder / DEV_FILE
        try:
            text = path.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise usage(f"{path} cannot be read: {error.strerror}") from error
        return _dev(path, text)
    return None


def _dev(path: Path, text: str) -> Dev:
    try:
        held = json.loads(text)
        return Dev(
            path,
            str(held["url"]),
            str(held["token"]),
            int(held["appId"]),
            str(held["appKey"]),
            str(held["secret"]),
            held.get("inboxSecret"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise usage(f"{path} is damaged; `homing dev` writes it anew") from error


def find(
    url: str | None, token: str | None, environment: Mapping[str, str] = os.environ, start: Path | None = None
) -> Target:
    """Return the server to talk to; a `CliError` says what is missing.

    The token in ``dev.json`` is only ever sent to the address in it.
    """
    url = url or environment.get("HOMING_URL")
    token = token or environment.get("HOMING_TOKEN", "").strip() or None
    dev = find_dev(start or Path.cwd()) if url is None or token is None else None
    if url is None:
        if dev is None:
            raise usage("no server: start `homing dev` here, give --url, or set HOMING_URL")
        url = dev.url
    is_dev = dev is not None and dev.url.rstrip("/") == url.rstrip("/")
    if token is None:
        if dev is None or not is_dev:
            raise CliError(ExitCode.NOT_ALLOWED, f"no token for {url}: give --token or set HOMING_TOKEN")
        token = dev.token
    return Target(url.rstrip("/"), token, dev.app_id if dev is not None and is_dev else None)
