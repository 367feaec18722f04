"""An authority and a server's certificate for 127.0.0.1, made on the spot, for the sink behind TLS."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def loopback_tls(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return what a server on 127.0.0.1 needs, and the authority (PEM) that its callers must trust."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench authority")])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)

    def begun(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            ca_name, subject, public_key, x509.random_serial_number(), now - day, now + day
        )

    authority = (
        begun(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = (
        begun(x509.Name([]), key.public_key())
        .add_extension(names, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + server.public_bytes(_PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, authority.public_bytes(_PEM).decode()
