"""Puts this process under the system calls and sockets that deploy/homing.service allows, then becomes Python with the words given.

systemd itself is not there in a test: the unit's own lines are read, its groups of calls expanded by `systemd-analyze`, and
the filter is installed by libseccomp, as systemd does it.
"""

import ctypes
import os
import re
import subprocess
import sys
from errno import EPERM
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "homing.service"
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NO_NEW_PRIVS, MDWE, MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
EQUAL = 4


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


def shut(unit: str) -> None:
    """Install the filter; it holds for whatever this process becomes."""
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | EPERM))
    names = allowed(unit) - {"socket"}
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    (families,) = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    socket_number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in families.split():
        is_it = Comparison(0, EQUAL, FAMILIES[family], 0)
        assert seccomp.seccomp_rule_add_array(context, ALLOW, socket_number, 1, ctypes.byref(is_it)) == 0
    assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if "MemoryDenyWriteExecute=yes" in unit:
        libc.prctl(MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # kernels before 6.3 do not know it
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    shut(Path(os.environ.get("JAIL_UNIT", UNIT)).read_text("utf-8"))
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
