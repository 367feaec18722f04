"""The corpus against the guard: nothing hostile is saved, nothing inside is dialled, nothing public is kept out.

HOMING_CHAOS=full wraps each spelling in a dozen wrappers: more than 100,000 payloads.
"""

import io
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.corpus import IS_FULL, Payload, controls, payloads, resolved
from tests.callbacks.dials import HAS_IPV6, CarelessTransfer, RawUrl, Reply, Witness, bench, faults
from tests.callbacks.ranges import V4, V6, is_sealed, lies_inside
from tests.callbacks.zoo import Run

from homing.api.urls import SavedUrls
from homing.callbacks.addresses import AddressPolicy
from homing.callbacks.guard import UrlRefused, parse_url
from homing.callbacks.verdict import Outcome
from homing.errors import UrlNotAllowed

pytestmark = pytest.mark.timeout(3_600 if IS_FULL else 60)
PAYLOADS = payloads()
CONTROLS = controls()
FAMILIES = {*V4, *V6, "metadata", "Teredo", "ISATAP", "name"}
RAW = [(n, RawUrl(payload.url)) for n, payload in enumerate(PAYLOADS)]
PLAIN = [(n, url) for n, url in RAW if PAYLOADS[n].wrapper == "http://HOST/"]
SOME = PLAIN[::4]
"""Enough for a fault that must be seen in every family."""


class TrustsPython(Witness):
    """The planted fault: what the standard library calls global is dialled."""

    def refuses(self, ip: str | bytes, host: str = "") -> str | None:
        reason = None if ipaddress.ip_address(ip).is_global else "not global"
        self.verdicts.append((ip, host, reason))
        return reason


def answers(name: str, _time: int) -> Reply:
    """The name as the corpus has it, at every look-up."""
    return Reply(resolved(name))


def is_grammatical(payload: Payload) -> bool:
    """True for what the grammar alone would let pass."""
    try:
        parse_url(payload.url)
    except UrlRefused:
        return False
    return True


def test_the_corpus_is_large_distinct_and_whole() -> None:
    """At least 5,000 payloads and 200 controls, no two alike, of every family of the list."""
    assert len({payload.url for payload in PAYLOADS}) == len(PAYLOADS) >= 5_000
    assert len({control.url for control in CONTROLS}) == len(CONTROLS) >= 200
    assert {payload.family for payload in PAYLOADS} == FAMILIES
    assert not any(lies_inside(address) for control in CONTROLS for address in control.addresses)


def test_no_payload_is_saved_and_no_control_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """Each payload is refused, in words that name no address behind a name; each control passes without a warning."""

    async def look_up(_loop: object, host: str, port: int, **_named: object) -> Any:
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in resolved(host)]

    async def main() -> None:
        saved = SavedUrls(AddressPolicy())
        for payload in PAYLOADS:
            with pytest.raises(UrlRefused) as caught:
                await saved(payload.url, "json")
            assert isinstance(caught.value, UrlNotAllowed)
            assert "10." not in caught.value.detail
            assert "169." not in caught.value.detail
        for control in CONTROLS:
            assert await saved(control.url, "json") == []

    monkeypatch.setattr("uvloop.Loop.getaddrinfo", look_up)
    run(main())
    assert "address=10.0.0.1" in log.getvalue()  # the operator's log does tell


def test_no_grammatical_payload_is_dialled(run: Run, tmp_path: Path) -> None:
    """Were it saved all the same (under older rules, or because a name changed), its dial is refused."""
    grammatical = [payload for payload in PAYLOADS if is_grammatical(payload)]

    async def main() -> None:
        async with bench(tmp_path, answers) as at:
            ended = await at.send((n, parse_url(payload.url)) for n, payload in enumerate(grammatical))
            wanted, dialled = at.journal.told()
            assert faults(at.journal) == []
            unseen = {grammatical[n].spelling for n in range(len(grammatical)) if n not in wanted}
            assert unseen <= {"onion", "service.onion"}  # which libcurl never looks up
            for n, done in enumerate(ended):
                if n in wanted and n not in dialled:
                    assert (done.error, done.address) == (Outcome.REFUSED_BY_GUARD, None)

    run(main())
    assert len(grammatical) > 1_500


def test_no_payload_is_dialled_whatever_libcurl_makes_of_it(run: Run, tmp_path: Path) -> None:
    """With the grammar taken away, libcurl's own reading of each payload ends at the open-socket callback."""

    async def main() -> None:
        async with bench(tmp_path, answers) as at:
            await at.send(RAW)
            assert faults(at.journal) == []
            refused = [dial for dial in at.journal.dials if not dial.is_dialled]
            assert {PAYLOADS[dial.endpoint].family for dial in refused} == FAMILIES
            assert len(refused) > 5_000

    run(main())


def test_what_nothing_opens_stays_shut_for_the_widest_operator(run: Run, tmp_path: Path) -> None:
    """All ranges and the private switch opened: loopback, metadata and embedded addresses are not dialled."""
    policy = Witness(["0.0.0.0/0", "::/0", "wild.example"], dangerous_allow_private=True)

    async def main() -> None:
        async with bench(tmp_path, answers, policy) as at:
            await at.send(PLAIN)
            dialled = {dial.address for dial in at.journal.dials if dial.is_dialled}
            assert len([address for address in dialled if lies_inside(address)]) > 50
            assert [address for address in dialled if is_sealed(address)] == []

    run(main())


def test_every_control_is_dialled_at_its_addresses(run: Run, tmp_path: Path) -> None:
    """All public addresses of all controls pass the open-socket callback, judged, and no others are asked for."""

    async def main() -> None:
        async with bench(tmp_path, answers) as at:
            await at.send((n, parse_url(control.url)) for n, control in enumerate(CONTROLS))
            wanted, dialled = at.journal.told()
            assert faults(at.journal) == []
            assert dialled == wanted
            for n, control in enumerate(CONTROLS):
                reachable = {address for address in control.addresses if HAS_IPV6 or ":" not in address}
                assert dialled[n] == (reachable or control.addresses), control.url

    run(main())


def test_a_guard_that_only_checks_before_is_caught(run: Run, tmp_path: Path) -> None:
    """Negative control: without the check at the dial the same assertion finds every family of the corpus."""

    async def main() -> None:
        async with bench(tmp_path, answers, transfer=CarelessTransfer) as at:
            await at.send(SOME)
            assert {PAYLOADS[dial.endpoint].family for dial in faults(at.journal)} == FAMILIES

    run(main())


def test_a_guard_that_trusts_pythons_is_global_is_caught(run: Run, tmp_path: Path) -> None:
    """Negative control: the standard library's opinion lets metadata, multicast and NAT64 through, on every Python."""

    async def main() -> None:
        async with bench(tmp_path, answers, TrustsPython()) as at:
            await at.send(SOME)
            found = {dial.address for dial in faults(at.journal)}
            assert found >= {"168.63.129.16", "224.0.0.1", "64:ff9b::a9fe:a9fe"}

    run(main())
