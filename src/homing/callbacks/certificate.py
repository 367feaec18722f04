"""Looks at the certificate of an endpoint's server once, for its owner: TLS version, and how long it is still valid.

Only for an address that a try has just reached, so it was judged; trusts what the endpoint trusts.
"""

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from homing.callbacks.job import EndpointView
from homing.callbacks.limits import system_ca_file

_LOOK_S: Final = 5.0


async def describe(view: EndpointView, address: str) -> str | None:
    """Return a phrase such as ``TLS 1.3, certificate valid 61 days``; None when nothing could be seen this time."""
    try:
        async with asyncio.timeout(_LOOK_S):
            _reader, writer = await asyncio.open_connection(
                address, view.url.port, ssl=_context(view), server_hostname=view.url.host
            )
            tls = writer.get_extra_info("ssl_object")
            version, raw = str(tls.version()), tls.getpeercert(binary_form=True)
            writer.close()
    except (OSError, ValueError, TimeoutError):
        return None
    if raw is None:
        return version.replace("v", " ")
    left = x509.load_der_x509_certificate(raw).not_valid_after_utc - datetime.now(UTC)
    trust = "NOT VERIFIED" if view.dangerous_skip_verify else f"valid {left.days} days"
    return f"{version.replace('v', ' ')}, certificate {trust}"


def _context(view: EndpointView) -> ssl.SSLContext:
    if view.dangerous_skip_verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if view.ca is not None:
        return ssl.create_default_context(cadata=view.ca.decode("ascii"))
    return ssl.create_default_context(cafile=system_ca_file())
