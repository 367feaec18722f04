"""One libcurl easy handle, kept for one endpoint and used for one try after the other: options, limits, what came back.

Everything that does not change is set once. The address check sits here, in the open-socket callback: libcurl asks for
a socket with the very address it is about to dial, so nothing can change between the check and the connection.
"""

import re
import socket
from collections.abc import Mapping
from typing import Any

import pycurl

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.answer import Answer
from homing.callbacks.job import Done, EndpointView, Job, Phases, Reached
from homing.callbacks.limits import Limits
from homing.callbacks.own_addresses import refuses
from homing.callbacks.verdict import Outcome

_QUICK_EXIT = 322  # CURLOPT_QUICK_EXIT: closing a handle does not wait for a name look-up that hangs
_EXPECT_BYTES = 1_000_000  # from 1 MiB on libcurl would ask "Expect: 100-continue" and wait a second

# libcurl would send a line break as it is, and what is behind it would be a header of somebody else's. Tab is harmless.
_NEVER_SENT = bytes({*range(0x20), 0x7F} - {0x09})
_NEVER_IN_TARGET = re.compile(r"[\x00-\x08\x0a-\x20\x7f]")
_ANSWER = Reached.ANSWER
_DEAD = frozenset({52, 55, 56})  # closed without a word, broken while writing, while reading

# libcurl's result codes (curl.h); what is not here came over the wire and was no proper HTTP answer.
ERRORS: Mapping[int, Outcome] = {
    **dict.fromkeys((5, 6), Outcome.DNS),
    **dict.fromkeys((7, *_DEAD), Outcome.CONNECT),
    28: Outcome.TIMEOUT,
    **dict.fromkeys((35, 51, 53, 54, 58, 59, 60, 64, 66, 80, 82, 83, 90, 91, 98), Outcome.TLS),
    **dict.fromkeys(
        (2, 3, 4, 27, 41, 43, 48, 77, 81), Outcome.OURS
    ),  # set-up, memory, our file of authorities
}


class Transfer:
    """A handle for one endpoint; used by one try at a time. ``opened`` collects sockets the sender is to close."""

    __slots__ = (
        *("curl", "view", "job", "clears_names"),
        *("_policy", "_opened", "_host", "_target", "_answer", "_dialled", "_refused", "_fault", "_spent_us"),
        "_names_kept_s",
    )  # fmt: skip

    def __init__(
        self,
        view: EndpointView,
        policy: AddressPolicy,
        limits: Limits,
        opened: list[socket.socket],
        ca_file: str | None,
    ) -> None:
        self.view = view
        self._policy = policy
        self._opened = opened
        self._answer = Answer(limits)
        self._spent_us = 0
        self._host = "" if view.url.literal else view.url.host
        self.curl: Any = pycurl.Curl()
        set_option = self.curl.setopt
        set_option(pycurl.URL, view.url.origin)
        set_option(
            pycurl.REQUEST_TARGET, view.url.target
        )  # libcurl would rewrite %2e in a URL; a signature covers it
        set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_option(pycurl.FOLLOWLOCATION, 0)
        set_option(pycurl.PROXY, "")
        set_option(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        set_option(pycurl.HTTP_CONTENT_DECODING, 0)
        set_option(pycurl.USERAGENT, view.user_agent)
        self._names_kept_s = limits.names_kept_s
        self._leave_names()
        set_option(pycurl.NOSIGNAL, 1)
        set_option(_QUICK_EXIT, 1)
        set_option(pycurl.TIMEOUT_MS, self._timeout_ms)
        set_option(pycurl.CONNECTTIMEOUT_MS, max(1, round(min(limits.connect_s, view.timeout_s) * 1000)))
        set_option(pycurl.SSL_VERIFYPEER, 0 if view.dangerous_skip_verify else 1)
        set_option(pycurl.SSL_VERIFYHOST, 0 if view.dangerous_skip_verify else 2)
        set_option(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        set_option(
            pycurl.CAPATH, None
        )  # libcurl keeps the parsed authorities only when there is a file and no path
        if view.ca is not None:
            set_option(pycurl.CAINFO_BLOB, view.ca)
        elif ca_file is not None:
            set_option(pycurl.CAINFO, ca_file)
        set_option(pycurl.OPENSOCKETFUNCTION, self._dial)
        set_option(pycurl.HEADERFUNCTION, self._answer.header)
        set_option(pycurl.WRITEFUNCTION, self._answer.body)
        self._target: str | None = None
        self._clear()

    def clear_names(self) -> None:
        """Have the coming try use no address of a name that is too old, and libcurl forget all such at its end.

        Left to itself libcurl walks through all it knows at the end of every transfer, to forget what is old.
        """
        self.clears_names = True
        self.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, self._names_kept_s)

    def load(self, job: Job) -> None:
        """Take a try; raises ValueError, TypeError or pycurl.error for what no request can hold, and stays usable."""
        set_option = self.curl.setopt
        headers, target = job.headers, job.target
        head = "".join(headers).encode()
        if len(head.translate(None, _NEVER_SENT)) != len(head):
            raise ValueError("a control character in the request's head")
        if target is not self._target:
            if target is not None and _NEVER_IN_TARGET.search(target):
                raise ValueError("a control character or a space in the request's target")
            set_option(pycurl.REQUEST_TARGET, target or self.view.url.target)
            self._target = target
        if job.body is None:
            set_option(pycurl.HTTPGET, 1)
        else:
            set_option(pycurl.POSTFIELDS, job.body)
            if len(job.body) >= _EXPECT_BYTES:
                headers = [*headers, "Expect:"]
        set_option(pycurl.HTTPHEADER, headers)
        self.job: Job | None = job

    def begin_anew(self, code: int) -> bool:
        """Get ready for the rest of the try over a new connection, if only kept ones were used and none said a word.

        libcurl does so by itself, but it gives up when five kept connections in a row turn out to be dead.
        """
        get_info, set_option = self.curl.getinfo, self.curl.setopt
        if code not in _DEAD or self._answer.has_begun or self._spent_us or get_info(pycurl.NUM_CONNECTS):
            return False
        self._spent_us = max(1, get_info(pycurl.TOTAL_TIME_T))
        set_option(pycurl.FRESH_CONNECT, 1)
        set_option(pycurl.TIMEOUT_MS, max(1, self._timeout_ms - self._spent_us // 1000))
        return True

    def finish(self, code: int, text: str) -> Done:
        """Return how the try ended and be ready for the next; ``code`` and ``text`` are libcurl's, 0 for success."""
        job, get_info = self.job, self.curl.getinfo
        assert job is not None
        answer = self._answer
        error = None if code == 0 and answer.is_whole else self._judge(code, text)
        connect_us = get_info(pycurl.CONNECT_TIME_T)
        name_us = tls_us = 0
        if connect_us or error is not None:  # else a connection that was kept
            name_us, tls_us = get_info(pycurl.NAMELOOKUP_TIME_T), get_info(pycurl.APPCONNECT_TIME_T)
        address = get_info(pycurl.PRIMARY_IP)
        spent_us = self._spent_us
        done = Done(
            job,
            get_info(pycurl.RESPONSE_CODE),
            error,
            "" if error is None else self._why(text),
            answer.retry_after,
            answer.kept,
            address or self._dialled,
            Phases(
                (name_us + spent_us) // 1000 if name_us else 0,
                (connect_us + spent_us) // 1000 if connect_us else 0,
                (tls_us + spent_us) // 1000 if tls_us else 0,
                # libcurl notes a first byte also where connecting failed and none came.
                (get_info(pycurl.STARTTRANSFER_TIME_T) + spent_us) // 1000 if answer.has_begun else 0,
                (get_info(pycurl.TOTAL_TIME_T) + spent_us) // 1000,
            ),
            answer.location,
            _ANSWER
            if answer.has_begun
            else self._reached(name_us, connect_us, tls_us, is_connected=bool(address)),
        )
        if self.clears_names:
            self._leave_names()
        if spent_us:
            self.curl.setopt(pycurl.FRESH_CONNECT, 0)
            self.curl.setopt(pycurl.TIMEOUT_MS, self._timeout_ms)
        self._clear()
        return done

    def close(self) -> None:
        """Free the handle; its connections stay in the pool."""
        self.curl.close()

    def _leave_names(self) -> None:
        self.clears_names = False
        self.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, -1 if self._names_kept_s else 0)

    def _clear(self) -> None:
        self.job = None
        self._answer.clear()
        self._dialled: str | None = None
        self._refused = ""
        self._fault = ""
        self._spent_us = 0

    @property
    def _timeout_ms(self) -> int:
        return max(1, round(self.view.timeout_s * 1000))  # 0 would be for ever

    def _judge(self, code: int, text: str) -> Outcome | None:
        """Return why the exchange is not complete; None when it is."""
        answer = self._answer
        if answer.excess:
            return Outcome.MALFORMED
        if code == 0 or answer.is_too_long:
            return None if answer.has_whole_head else Outcome.MALFORMED
        if code == pycurl.E_COULDNT_CONNECT and self._dialled is None:
            # Where an address was dialled, that is what failed; others of the name may have been refused.
            if self._fault:
                return Outcome.OURS
            return Outcome.REFUSED_BY_GUARD if self._refused else Outcome.CONNECT
        error = ERRORS.get(code, Outcome.MALFORMED)
        if error is not Outcome.CONNECT:
            return error
        if answer.has_begun:
            return Outcome.MALFORMED
        # With TLS 1.3 a server refuses its client behind the handshake: libcurl sees reading or writing fail.
        return Outcome.TLS if "SSL routines" in text and "alert" in text else Outcome.CONNECT

    def _why(self, text: str) -> str:
        """Return what operators are told of an error."""
        if self._answer.excess:
            return f"beyond what is read: {self._answer.excess}"
        if self._dialled is None and (self._fault or self._refused):
            return self._fault or f"refused: {self._refused}"
        return text or "the answer ended before its headers did"

    def _reached(self, name_us: int, connect_us: int, tls_us: int, *, is_connected: bool) -> Reached:
        """Say how far a try came that no answer began to."""
        if connect_us:
            return Reached.READY if tls_us or self.view.url.scheme == "http" else Reached.CONNECTION
        if is_connected:
            return Reached.READY  # a connection that was kept: nothing was looked up, dialled or shaken
        return Reached.ADDRESS if name_us else Reached.NOTHING

    def _dial(self, _purpose: int, target: Any) -> Any:
        """Give libcurl a socket for the address it wants to dial, or none."""
        family, kind, protocol, address = target
        if family not in {socket.AF_INET, socket.AF_INET6}:
            self._refused = "not an IP address"
            return pycurl.SOCKET_BAD
        reason = refuses(self._policy, address[0], self._host)
        if reason is not None:
            self._refused = f"{address[0]} ({reason})"
            return pycurl.SOCKET_BAD
        try:
            opened = socket.socket(family, kind, protocol)
        except OSError as fault:
            self._fault = f"no socket: {fault}"
            return pycurl.SOCKET_BAD
        self._dialled = address[0]
        self._opened.append(opened)  # pycurl takes a duplicate; this one is closed when libcurl has returned
        return opened
