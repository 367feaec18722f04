"""The pool that sends callbacks: libcurl's multi interface on the event loop, no thread and no future per request.

It sends what it is given and tells how it went; it never retries, never orders and never decides what an answer means.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pycurl

from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.job import Done, EndpointView, Job, Phases
from homing.callbacks.limits import Limits, raise_open_files, system_ca_file
from homing.callbacks.poller import Poller
from homing.callbacks.transfer import Transfer
from homing.callbacks.verdict import Outcome

_CLEARINGS = 12  # so often names are cleared while one is kept: a twelfth of its time may be too much
_SPARE_FILES = 256  # the store, the server's own sockets below their own limit, logs, a pipe or two


class _Pool:
    """The handles of one endpoint; ``retired`` once the endpoint was replaced or forgotten."""

    __slots__ = ("view", "free", "retired")

    def __init__(self, view: EndpointView) -> None:
        self.view = view
        self.free: list[Transfer] = []
        self.retired = False


class Sender:
    """Sends jobs and hands each back exactly once, ended: ``on_done`` is called once per wake-up with all that ended.

    Everything runs on the loop's thread, ``submit`` too. No ``on_done`` happens inside ``submit``, and ``submit`` may be
    called inside ``on_done``. How many are in flight is the caller's decision; ``in_flight`` counts them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        policy: AddressPolicy,
        limits: Limits,
        on_done: Callable[[list[Done]], None],
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._on_done = on_done
        self._limits = limits
        self._ca_file = limits.ca_file or system_ca_file()
        self.in_flight = 0
        self.open_files = raise_open_files(2 * limits.connections + _SPARE_FILES)
        """What the system allows; fewer than wanted is worth a warning at start."""
        self._pools: dict[int, _Pool] = {}
        self._active: dict[Any, tuple[Transfer, _Pool]] = {}
        self._idle_handles = 0
        self._unsendable: list[Done] = []
        self._opened: list[socket.socket] = []
        self._reap_is_due = False
        self._clear_names_at = 0.0
        self._closed = False
        self._poller = Poller(loop, self._ready, self._deadline)
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._poller.socket_changed)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._poller.deadline_changed)
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Start every job now; each comes back through ``on_done``."""
        # Until one that does has ended, all clear the names: after an idle hour nothing may go where a name led then.
        clears_names = self._loop.time() >= self._clear_names_at
        for job in jobs:
            pool = self._pools.get(job.endpoint.id)
            if pool is None or pool.view is not job.endpoint:
                pool = self._replace(job.endpoint)
            transfer: Transfer | None = None
            try:
                if pool.free:
                    transfer = pool.free.pop()
                    self._idle_handles -= 1
                else:
                    transfer = Transfer(pool.view, self._policy, self._limits, self._opened, self._ca_file)
                transfer.load(job)
            except (ValueError, TypeError, MemoryError, pycurl.error) as fault:
                if transfer is not None:
                    transfer.close()
                self._unsendable.append(
                    Done(job, 0, Outcome.OURS, str(fault), None, b"", None, Phases(0, 0, 0, 0, 0))
                )
                continue
            if clears_names:
                transfer.clear_names()
            self._active[transfer.curl] = transfer, pool
            self._multi.add_handle(transfer.curl)
        self.in_flight += len(jobs)
        self._poller.cut_talkers()
        if self._act(pycurl.SOCKET_TIMEOUT, 0) < self.in_flight:
            self._reap_soon()
        self._poller.arm()

    def forget(self, endpoint_id: int) -> None:
        """Free what is kept for an endpoint that is gone; its tries in flight end as usual."""
        pool = self._pools.pop(endpoint_id, None)
        if pool is not None:
            pool.retired = True
            self._idle_handles -= len(pool.free)
            for transfer in pool.free:
                transfer.close()
            pool.free.clear()

    def close(self) -> list[Job]:
        """Cut every connection and return the jobs that had not ended; ``on_done`` is not called any more."""
        if self._closed:
            return []
        self._closed = True
        unfinished = [done.job for done in self._unsendable]
        for transfer, _ in self._active.values():
            if transfer.job is not None:
                unfinished.append(transfer.job)
            self._multi.remove_handle(transfer.curl)
            transfer.close()
        self._active.clear()
        for endpoint_id in list(self._pools):
            self.forget(endpoint_id)
        self._multi.close()
        self._poller.close()
        self.in_flight = 0
        return unfinished

    def _replace(self, view: EndpointView) -> _Pool:
        self.forget(view.id)
        pool = self._pools[view.id] = _Pool(view)
        return pool

    def _act(self, fd: int, bits: int) -> int:
        """Let libcurl work on one socket, or on what is due; return how many transfers still run."""
        running: int = self._multi.socket_action(fd, bits)[1]
        if self._opened:
            for opened in self._opened:
                opened.close()
            self._opened.clear()
        return running

    def _ready(self, sockets: list[tuple[int, int]]) -> None:
        for fd, bits in sockets:
            self._act(fd, bits)
        self._reap()

    def _deadline(self) -> None:
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._reap()

    def _reap_soon(self) -> None:
        if not self._reap_is_due:
            self._reap_is_due = True
            self._loop.call_soon(self._reap)

    def _reap(self) -> None:
        """Take what ended out of libcurl and hand it over, all in one call."""
        self._reap_is_due = False
        if self._closed:
            return
        ended, self._unsendable = self._unsendable, []
        _, succeeded, failed = self._multi.info_read()
        for curl in succeeded:
            ended.append(self._take_out(curl, 0, ""))
        for curl, code, text in failed:
            if not self._begin_anew(curl, code):
                ended.append(self._take_out(curl, code, text))
        self.in_flight -= len(ended)
        if self._idle_handles > self._limits.idle_handles:
            self._free_idle_handles()
        self._poller.arm()
        if ended:
            self._on_done(ended)

    def _begin_anew(self, curl: Any, code: int) -> bool:
        """Send once more what kept connections lost, all dead under it: that says nothing about the endpoint."""
        if not self._active[curl][0].begin_anew(code):
            return False
        self._multi.remove_handle(curl)
        self._multi.add_handle(curl)
        return True

    def _take_out(self, curl: Any, code: int, text: str) -> Done:
        transfer, pool = self._active.pop(curl)
        if transfer.clears_names and code == 0:
            self._clear_names_at = self._loop.time() + self._limits.names_kept_s / _CLEARINGS
        self._multi.remove_handle(curl)
        done = transfer.finish(code, text)
        if pool.retired:
            transfer.close()
        else:
            pool.free.append(transfer)
            self._idle_handles += 1
        return done

    def _free_idle_handles(self) -> None:
        """Forget endpoints, those known for longest first, until half of the allowed handles are left."""
        for endpoint_id in list(self._pools):
            if self._idle_handles <= self._limits.idle_handles // 2:
                return
            self.forget(endpoint_id)
