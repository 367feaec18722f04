"""A test authority, certificates it signs, and a TLS server that says its alerts before it hangs up."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """Where a test authority lies, and a server that shows a certificate signed by it."""

    ca_file: str
    server: ssl.SSLContext


def certificates(
    folder: Path, names: Iterable[str], *, expired: bool = False, signs_itself: bool = False
) -> Certificates:
    """Make an authority and a server certificate for these names and addresses."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ca_key if signs_itself else ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    start = now - 9 * day

    def builder(subject: x509.Name, public_key: Any, end: dt.datetime) -> x509.CertificateBuilder:
        unsigned = x509.CertificateBuilder(
            ca_name, subject, public_key, x509.random_serial_number(), start, end
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        return unsigned.add_extension(authority, critical=False)

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        builder(ca_name, ca_key.public_key(), now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    leaf = (
        builder(
            ca_name if signs_itself else x509.Name([]), key.public_key(), now - day if expired else now + day
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Certificates(str(folder / "ca.pem"), context)


def _is_whole(request: bytes) -> bool:
    head, is_headed, body = request.partition(b"\r\n\r\n")
    return bool(is_headed) and len(body) == int(
        head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    )


class TlsDoor:
    """Behind TLS it answers one request a connection and hangs up; one connection at a time, in a thread of its own.

    asyncio and uvloop drop a failed handshake's alert. This one sends it, and waits until the other side has hung up.
    """

    def __init__(self, context: ssl.SSLContext, answer: bytes, *, says_goodbye: bool = True) -> None:
        self._context = context
        self._answer = answer
        self._says_goodbye = says_goodbye
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.requests = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and wait until the last one has ended."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            one.settimeout(20)
            with self._context.wrap_socket(
                one, server_side=True, do_handshake_on_connect=False
            ) as behind_tls:
                try:
                    behind_tls.do_handshake()
                    self._talk(behind_tls)
                except OSError:
                    pass
                self._see_off(behind_tls)

    def _talk(self, behind_tls: ssl.SSLSocket) -> None:
        received = b""
        while not _is_whole(received):
            piece = behind_tls.recv(65_536)
            if not piece:
                return
            received += piece
        self.requests += 1
        behind_tls.sendall(self._answer)
        if self._says_goodbye:
            behind_tls.unwrap()

    def _see_off(self, behind_tls: ssl.SSLSocket) -> None:
        try:
            behind_tls.shutdown(socket.SHUT_WR)
            while behind_tls.recv(65_536):
                pass
        except OSError:
            pass
