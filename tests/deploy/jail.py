"""Puts this process under the system calls and sockets that deploy/homing.service allows, then becomes Python with the words given.

systemd itself is not there in a test. Where its tools are, the unit's groups of calls are expanded by `systemd-analyze`, and the
filter, of what is allowed, is installed by libseccomp, as systemd does it. Where they are not, the filter is of what `calls`
says is refused, and the kernel is told without a library.
"""

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from errno import EPERM
from pathlib import Path

from tests.deploy.calls import FILTERS, REFUSED, SOCKET

UNIT = Path(__file__).parents[2] / "deploy" / "homing.service"
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NO_NEW_PRIVS, MDWE, MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
EQUAL = 4
SET_SECCOMP, MODE_FILTER = 22, 2
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine → its column in `calls`, and what the kernel calls it (AUDIT_ARCH_…)."""
FIRST_FOREIGN_CALL = 0x4000_0000
"""From here on they are those of x32."""
LOAD, EQUALS, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
CALL_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16


class Comparison(ctypes.Structure):
    """One condition on an argument (`struct scmp_arg_cmp`)."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def group(name: str) -> set[str]:
    """The calls of a group, those of the groups in it too."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    words = [line.strip() for line in told.stdout.splitlines()[1:]]
    return set().union(*(group(word) for word in words if word and not word.startswith("#")))


def allowed(unit: str) -> set[str]:
    """The calls that are left when the unit's lines were applied in their order (systemd.exec(5), SystemCallFilter)."""
    names: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        calls = set().union(*map(group, line.lstrip("~").split()))
        names = names - calls if line.startswith("~") else names | calls
    return names | group("@default")


def by_systemd(unit: str) -> None:
    """Install a filter of what is allowed; it holds for whatever this process becomes."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | EPERM))
    names = allowed(unit)
    assert not names & set(REFUSED), "the table says otherwise"
    for name in names - {"socket"}:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    socket_number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in families(unit):
        is_it = Comparison(0, EQUAL, family, 0)
        assert seccomp.seccomp_rule_add_array(context, ALLOW, socket_number, 1, ctypes.byref(is_it)) == 0
    assert seccomp.seccomp_load(context) == 0


def by_table(unit: str) -> None:
    """Install a filter of what is refused; it holds for whatever this process becomes."""
    assert tuple(re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE)) == FILTERS
    column, architecture = ARCHITECTURES[platform.machine()]
    numbers = [row[column] for row in REFUSED.values()]
    # Each step: what to do, how many steps to pass over when it holds and when not, a value (struct sock_filter).
    steps = [(LOAD, 0, 0, ARCHITECTURE_AT), (EQUALS, 1, 0, architecture), (RETURN, 0, 0, ERRNO | EPERM)]
    steps += [(LOAD, 0, 0, CALL_AT), (AT_LEAST, 0, 1, FIRST_FOREIGN_CALL), (RETURN, 0, 0, ERRNO | EPERM)]
    for number in numbers:
        if number is not None:
            steps += [(EQUALS, 0, 1, number), (RETURN, 0, 0, ERRNO | EPERM)]
    steps += [(EQUALS, 1, 0, SOCKET[column]), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
    for family in families(unit):
        steps += [(EQUALS, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, ERRNO | EPERM))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    told = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(program)))
    assert LIBC.prctl(SET_SECCOMP, MODE_FILTER, told, 0, 0) == 0, os.strerror(ctypes.get_errno())


def families(unit: str) -> list[int]:
    """The kinds of sockets that are allowed."""
    (line,) = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    return [FAMILIES[name] for name in line.split()]


LIBC = ctypes.CDLL(None, use_errno=True)
JAILS: dict[str, Callable[[str], None]] = {"table": by_table}
if shutil.which("systemd-analyze") is not None and find_library("seccomp") is not None:
    JAILS["systemd"] = by_systemd
"""How to shut a process in, on this machine; the last one is the strictest."""


if __name__ == "__main__":
    unit_text = Path(os.environ.get("JAIL_UNIT", UNIT)).read_text("utf-8")
    assert LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if "MemoryDenyWriteExecute=yes" in unit_text:
        LIBC.prctl(MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # kernels before 6.3 do not know it
    JAILS[os.environ.get("JAIL_KIND", list(JAILS)[-1])](unit_text)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
