"""The keys of a cluster that lives as long as a test session: an authority and what it signs."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=2)
_NAMES = ("localhost", "kubernetes.default.svc")


class Authority:
    """Signs with its own key; writes NAME.crt and NAME.key into its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("embedway-tests", None)
        self.certificate = folder / "ca.crt"
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        signed = self._signed(self._name, self._key.public_key(), (constraint, True))
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str) -> None:
        """A server on 127.0.0.1."""
        names = x509.SubjectAlternativeName(
            [*map(x509.DNSName, _NAMES), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        self._issue(name, _name(name, None), ExtendedKeyUsageOID.SERVER_AUTH, (names, False))

    def client(self, name: str, group: str) -> None:
        """A user of that name in that group, as Kubernetes reads certificates."""
        self._issue(name, _name(name, group), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        use: x509.ObjectIdentifier,
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = (x509.ExtendedKeyUsage([use]), False)
        signed = self._signed(subject, key.public_key(), usage, *extensions)
        pem = signed.public_bytes(serialization.Encoding.PEM)
        (self._folder / f"{name}.crt").write_bytes(pem)
        _write_key(key, self._folder / f"{name}.key")

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + _LIFE)
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(self._key, hashes.SHA256())


def write_account_key(path: Path) -> None:
    """The key that signs the tokens of service accounts; its public half beside it as .pub."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(key, path)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.with_suffix(".pub").write_bytes(public)


def _name(common_name: str, organization: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _write_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, path: Path) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(pem)
