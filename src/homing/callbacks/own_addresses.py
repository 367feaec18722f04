"""Which addresses are this machine's own, and the whole verdict on an address that is about to be dialled.

What listens on 0.0.0.0 answers at a machine's public address as at 127.0.0.1, and packets from the machine to itself
pass most firewalls, for they come in through the loopback interface. So to a callback an address of our own is not
public, unless the operator opened it. The kernel is asked at each dial: addresses come and go. Nothing is sent.
"""

import socket
import struct

from homing.callbacks.addresses import AddressPolicy

# <linux/rtnetlink.h>: ask for one route; RTN_LOCAL is the type of those that end on this machine.
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_NLM_F_REQUEST = 1
_RTA_DST = 1
_RTN_LOCAL = 2
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_TYPE_AT = _HEADER.size + 7
_ATTRIBUTE = struct.Struct("=HH")


def refuses(policy: AddressPolicy, ip: str, host: str = "") -> str | None:
    """Return why ``ip`` must not be dialled, or None: the policy's reasons, or that it is this machine's own."""
    reason = policy.refuses(ip, host)
    if reason is None and not policy.opens(ip, host) and is_own(ip):
        return "this machine's own"
    return reason


def is_own(ip: str) -> bool:
    """Say whether packets to ``ip`` (as inet_ntop writes it) end on this machine; False where the kernel does not tell."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    packed = socket.inet_pton(family, ip)
    route = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    asked = route + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(_HEADER.pack(_HEADER.size + len(asked), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + asked)
            told = kernel.recv(4096)
    except OSError:  # a sandbox may forbid this family of sockets
        return False
    return _HEADER.unpack_from(told)[1] == _RTM_NEWROUTE and told[_TYPE_AT] == _RTN_LOCAL
