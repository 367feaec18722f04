"""One libcurl easy handle, kept for one endpoint and used for one try after the other: options, limits, what came back.

Everything that does not change is set once. The address check sits here, in the open-socket callback: libcurl asks for
a socket with the very address it is about to dial, so nothing can change between the check and the connection.
"""

import socket
from collections.abc import Mapping
from typing import Any

import pycurl

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.job import Done, EndpointView, Job, Phases
from homing.callbacks.limits import Limits
from homing.callbacks.own_addresses import refuses
from homing.callbacks.verdict import Outcome

_QUICK_EXIT = 322  # CURLOPT_QUICK_EXIT: closing a handle does not wait for a name look-up that hangs
_EXPECT_BYTES = 1_000_000  # from 1 MiB on libcurl would ask "Expect: 100-continue" and wait a second

# libcurl's result codes (curl.h); what is not here came over the wire and was no proper HTTP answer.
ERRORS: Mapping[int, Outcome] = {
    **dict.fromkeys((5, 6), Outcome.DNS),
    **dict.fromkeys(
        (7, 52, 55, 56), Outcome.CONNECT
    ),  # refused, closed without a word, broken while writing, reading
    28: Outcome.TIMEOUT,
    **dict.fromkeys((35, 51, 53, 54, 58, 59, 60, 64, 66, 80, 82, 83, 90, 91, 98), Outcome.TLS),
    **dict.fromkeys(
        (2, 3, 4, 27, 41, 43, 48, 77, 81), Outcome.OURS
    ),  # set-up, memory, our file of authorities
}


class Transfer:
    """A handle for one endpoint; used by one try at a time. ``opened`` collects sockets the sender is to close."""

    __slots__ = (
        *(
            "curl",
            "view",
            "job",
            "_policy",
            "_limits",
            "_opened",
            "_host",
            "_target",
            "_answer",
            "_answer_bytes",
        ),
        *(
            "_header_bytes",
            "_header_lines",
            "_heads",
            "_retry_after",
            "_location",
            "_excess",
            "_refused",
            "_fault",
            "_dialled",
        ),
    )

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
        self._limits = limits
        self._opened = opened
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
        set_option(pycurl.NOSIGNAL, 1)
        set_option(_QUICK_EXIT, 1)
        set_option(pycurl.TIMEOUT_MS, max(1, round(view.timeout_s * 1000)))  # 0 would be for ever
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
        set_option(pycurl.HEADERFUNCTION, self._header)
        set_option(pycurl.WRITEFUNCTION, self._body)
        self._target: str | None = None
        self._clear()

    def load(self, job: Job) -> None:
        """Take a try; raises ValueError, TypeError or pycurl.error for what no request can hold, and stays usable."""
        set_option = self.curl.setopt
        if job.target is not self._target:
            set_option(pycurl.REQUEST_TARGET, job.target or self.view.url.target)
            self._target = job.target
        headers = job.headers
        if job.body is None:
            set_option(pycurl.HTTPGET, 1)
        else:
            set_option(pycurl.POSTFIELDS, job.body)
            if len(job.body) >= _EXPECT_BYTES:
                headers = [*headers, "Expect:"]
        set_option(pycurl.HTTPHEADER, headers)
        self.job: Job | None = job

    def finish(self, code: int, text: str) -> Done:
        """Return how the try ended and be ready for the next; ``code`` and ``text`` are libcurl's, 0 for success."""
        job, get_info = self.job, self.curl.getinfo
        assert job is not None
        error = self._judge(code) if code else None
        if error is Outcome.REFUSED_BY_GUARD:
            text = f"refused: {self._refused}"
        done = Done(
            job,
            get_info(pycurl.RESPONSE_CODE),
            error,
            (self._fault or text) if error is not None else "",
            self._retry_after,
            self._answer,
            get_info(pycurl.PRIMARY_IP) or self._dialled,  # libcurl tells it of connections only
            Phases(
                get_info(pycurl.NAMELOOKUP_TIME_T) // 1000,
                get_info(pycurl.CONNECT_TIME_T) // 1000,
                get_info(pycurl.APPCONNECT_TIME_T) // 1000,
                get_info(pycurl.STARTTRANSFER_TIME_T) // 1000,
                get_info(pycurl.TOTAL_TIME_T) // 1000,
            ),
            self._location,
        )
        self._clear()
        return done

    def close(self) -> None:
        """Free the handle; its connections stay in the pool."""
        self.curl.close()

    def _clear(self) -> None:
        self.job = None
        self._answer = b""
        self._answer_bytes = self._header_bytes = self._header_lines = self._heads = 0
        self._retry_after: str | None = None
        self._location: str | None = None
        self._excess = ""
        self._refused = ""
        self._fault = ""
        self._dialled: str | None = None

    def _judge(self, code: int) -> Outcome | None:
        if self._excess == "body":
            return None
        if self._excess:
            return Outcome.MALFORMED
        if code == pycurl.E_COULDNT_CONNECT and self._fault:
            return Outcome.OURS
        if code == pycurl.E_COULDNT_CONNECT and self._refused and self._dialled is None:
            return Outcome.REFUSED_BY_GUARD
        error = ERRORS.get(code, Outcome.MALFORMED)
        return Outcome.MALFORMED if error is Outcome.CONNECT and self._heads else error  # an answer had begun

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

    def _header(self, line: bytes) -> int | None:
        """Count a header line (status lines too) and look for Retry-After; any answer but None ends the transfer."""
        self._header_bytes += len(line)
        self._header_lines += 1
        limits = self._limits
        if self._header_bytes > limits.header_bytes or self._header_lines > limits.header_lines:
            self._excess = "headers"
            return -1
        first = line[0]
        if first == 0x48 and line.startswith(b"HTTP/"):
            self._heads += 1
            self._retry_after = None
            self._location = None
            if self._heads > limits.informational + 1:
                self._excess = "informational"
                return -1
        elif first in b"Rr" and line[:12].lower() == b"retry-after:":
            self._retry_after = line[12:].strip().decode("latin-1")
        elif first in b"Ll" and line[:9].lower() == b"location:":
            self._location = line[9:].strip()[:2_048].decode("latin-1")
        return None

    def _body(self, chunk: bytes) -> int | None:
        """Keep the beginning of the answer and count the rest; any answer but None ends the transfer."""
        kept = self._limits.answer_kept_bytes - len(self._answer)
        if kept > 0:
            self._answer += chunk[:kept]
        self._answer_bytes += len(chunk)
        if self._answer_bytes > self._limits.answer_read_bytes:
            self._excess = "body"
            return -1
        return None
