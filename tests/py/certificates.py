"""Authorities and certificates of one test, as files."""

import base64
import datetime
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(hours=1)
LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as files in PEM."""

    cert: Path
    key: Path

    @property
    def thumbprint(self) -> str:
        """`x5t#S256` (RFC 8705)."""
        der = x509.load_pem_x509_certificate(self.cert.read_bytes()).public_bytes(serialization.Encoding.DER)
        return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


class Authority:
    """Signs certificates with a key that ends with the test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = _usage(key_cert_sign=True, crl_sign=True)
        builder = self._builder(self.subject, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.ca = folder / f"{name}-ca.pem"
        self.ca.write_bytes(_pem(builder.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())))

    def server(self, name: str) -> Certificate:
        """A certificate for a server on this machine."""
        names = [x509.IPAddress(ipaddress.ip_address(LOCAL)), x509.DNSName("localhost")]
        return self._issue(name, names, ExtendedKeyUsageOID.SERVER_AUTH)

    def workload(self, name: str, spiffe_id: str) -> Certificate:
        """An X.509-SVID."""
        return self._issue(name, [x509.UniformResourceIdentifier(spiffe_id)], ExtendedKeyUsageOID.CLIENT_AUTH)

    def client(self, name: str, dns: str) -> Certificate:
        """A certificate for a client that has a DNS name."""
        return self._issue(name, [x509.DNSName(dns)], ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, name: str, names: list[x509.GeneralName], use: x509.ObjectIdentifier) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key.public_key())
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([use]), False),
            # Critical, because the subject is empty (RFC 5280 4.2.1.6).
            (x509.SubjectAlternativeName(names), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        files = Certificate(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files.cert.write_bytes(_pem(builder.sign(self.key, hashes.SHA256())))
        files.key.touch(mode=0o600)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files.key.write_bytes(key.private_bytes(*form))
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return x509.CertificateBuilder(
            issuer_name=self.subject, subject_name=subject, public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - LIFETIME, not_valid_after=now + LIFETIME,
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)

    def trusted(self, shown: Certificate | None = None) -> ssl.SSLContext:
        """How a client believes servers of this authority, and shows `shown`."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if shown:
            context.load_cert_chain(shown.cert, shown.key)
        return context


def _usage(**used: bool) -> x509.KeyUsage:
    """The usages named, and no others."""
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
