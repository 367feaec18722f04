"""The Containerfile and the compose file: linted, and what the image would run is run; no image is built here."""

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.served import free_port
from tests.deploy.proxies import DEPLOY, tool

ROOT = DEPLOY.parent
CONTAINERFILE = DEPLOY / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Every instruction with its argument, lines joined."""
    joined = CONTAINERFILE.read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, re.sub(r"\s+", " ", rest)) for word, _, rest in (line.partition(" ") for line in lines)]


def last_stage() -> dict[str, str]:
    """The instructions of the image itself; of one that is repeated the last."""
    told = instructions()
    begin = max(number for number, (word, _) in enumerate(told) if word == "FROM")
    return dict(told[begin:])


def variables() -> dict[str, str]:
    """What ENV sets, but the path."""
    pairs = dict(pair.split("=", 1) for pair in shlex.split(last_stage()["ENV"]))
    assert pairs.pop("PATH") == "/opt/homing/bin:$PATH"
    return pairs


def exec_form(argument: str) -> list[str]:
    """The words of an instruction in exec form, which needs no shell: signals reach the process itself."""
    found = re.search(r"\[.*\]$", argument)
    assert found, argument
    words: list[str] = json.loads(found[0])
    return words


def test_hadolint_has_nothing_to_say() -> None:
    """Every rule, none switched off."""
    ended = subprocess.run(
        [tool("hadolint"), "--no-color", "--failure-threshold", "style", str(CONTAINERFILE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "")


def test_two_stages_and_nobody_is_root() -> None:
    """What builds does not come along; the image runs as a number that is not 0, in the directory that it may write."""
    told = instructions()
    assert [word for word, _ in told].count("FROM") == 2
    image = last_stage()
    uid, _, gid = image["USER"].partition(":")
    assert (int(uid), int(gid)) >= (1_000, 1_000)
    assert image["VOLUME"] == image["WORKDIR"] == "/data"
    assert f"--uid {uid}" in image["RUN"]
    assert "-m 0700 /data" in image["RUN"]
    assert image["STOPSIGNAL"] == "SIGTERM"
    assert "TOKEN" not in CONTAINERFILE.read_text("utf-8"), "no secret is baked in"


def test_what_is_copied_is_there_and_is_what_the_build_needs() -> None:
    """Each source of a COPY is in the checkout, and the packages are the locked ones, by their hashes."""
    sources = [word for kind, rest in instructions() if kind == "COPY" for word in rest.split()[:-1]]
    for source in sources:
        if not source.startswith(("--from", "/opt/")):
            assert (ROOT / source).exists(), source
    assert {"src", "pyproject.toml", "README.md", "LICENSE", "requirements/run.txt"} <= set(sources)
    installs = " ".join(rest for kind, rest in instructions() if kind == "RUN")
    assert "--require-hashes --only-binary :all: --no-deps -r requirements/run.txt" in installs
    assert "--no-deps --no-build-isolation --no-index ." in installs


def test_what_the_image_runs_serves_is_healthy_and_ends_at_sigterm(tmp_path: Path) -> None:
    """ENTRYPOINT and CMD under ENV, with the volume in the test's directory; HEALTHCHECK's own command finds it well."""
    image, port = last_stage(), free_port()
    assert variables()["HOMING_SERVER__LISTEN"].startswith("0.0.0.0:")
    assert variables()["HOMING_SERVER__LISTEN"].endswith(f":{image['EXPOSE']}")
    told = {
        "HOMING_SERVER__LISTEN": f"127.0.0.1:{port}",
        "HOMING_STORE__URL": variables()["HOMING_STORE__URL"].replace("/data/", f"{tmp_path}/data/"),
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
    }
    assert set(variables()) <= set(told)
    env = {name: value for name, value in os.environ.items() if not name.startswith("HOMING_")} | told
    words = exec_form(image["ENTRYPOINT"]) + exec_form(image["CMD"])
    health = exec_form(image["HEALTHCHECK"])

    def healthy() -> int:
        return subprocess.run(
            health, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, timeout=30, check=False
        ).returncode

    assert healthy() == 1
    with subprocess.Popen(
        words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        assert healthy() == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (tmp_path / "data" / "homing.db").exists()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, as YAML reads it."""
    yaml = importlib.import_module("yaml")
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return read


def test_compose_names_what_there_is(compose: dict[str, Any]) -> None:
    """Files, volumes and services that it speaks of exist; the data is in a volume of its own."""
    node, proxy = compose["services"]["homing"], compose["services"]["caddy"]
    context = (DEPLOY / node["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / node["build"]["dockerfile"]).resolve() == CONTAINERFILE
    mounts = [one.split(":") for one in node["volumes"] + proxy["volumes"]]
    assert ["homing-data", "/data"] in mounts
    for source, *_ in mounts:
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in compose["volumes"]
    assert set(proxy["depends_on"]) == {"homing"}
    assert proxy["depends_on"]["homing"] == {"condition": "service_healthy"}
    host, port = proxy["environment"]["HOMING_UPSTREAM"].split(":")
    assert (host in compose["services"], port) == (True, last_stage()["EXPOSE"])
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    assert all(f"{{${name}:" in text for name in proxy["environment"])


def test_compose_opens_only_the_proxy_and_gives_the_node_no_rights(compose: dict[str, Any]) -> None:
    """No port of the node is published; its own file system is read-only; it may drain before it is killed."""
    node = compose["services"]["homing"]
    assert "ports" not in node
    assert node["read_only"] is True
    assert node["cap_drop"] == ["ALL"]
    assert node["security_opt"] == ["no-new-privileges:true"]
    assert int(node["stop_grace_period"].removesuffix("s")) > 30
    assert node["ulimits"]["nofile"] > 20_256
