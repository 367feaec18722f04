"""What one try may cost and what the pool may hold: the sender's numbers, each with its reason, and the system's limit."""

import resource
import ssl
from pathlib import Path
from typing import NamedTuple

# Where systems keep the bundle of certificate authorities, for Pythons built with a path that does not exist here.
_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSDs
)


class Limits(NamedTuple):
    """The sender's limits; the time for a whole exchange is the endpoint's (`EndpointView.timeout_s`)."""

    connect_s: float = 5.0
    """For name, connection and TLS together (CONTRACT.md §5)."""
    answer_read_bytes: int = 65_536
    """After that the connection is closed; the answer counts by its status."""
    answer_kept_bytes: int = 1_024
    """Kept for the sender of the message to see."""
    header_bytes: int = 16_384
    header_lines: int = 100
    informational: int = 8
    """1xx answers before the real one."""
    connections: int = 10_000
    """Connections kept open, busy and idle: below the working set the pool churns (PROTOTYPE.md §6)."""
    idle_handles: int = 4_096
    """libcurl handles kept for endpoints that nothing is sent to just now, a few KiB each."""
    names_kept_s: int = 60
    """How long the addresses a name was found to have are used again for new connections; 0: never."""
    ca_file: str | None = None
    """Trusted certificate authorities, PEM; None takes the system's."""


def system_ca_file() -> str | None:
    """Return the system's bundle of certificate authorities; ``SSL_CERT_FILE`` overrides; None when there is none.

    A pycurl wheel brings a libcurl that knows the path of the machine it was built on, so it must be told ours.
    """
    candidates = (ssl.get_default_verify_paths().cafile, *_CA_FILES)
    return next((path for path in candidates if path and Path(path).is_file()), None)


def raise_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to ``wanted``, or as far as is allowed; return what it now is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    return reachable
