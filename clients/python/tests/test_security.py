"""TLS and credentials, against a server that demands them."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from userdata_client import PermissionDeniedError, UnauthenticatedError, UnavailableError
from userdata_client.testing import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Authority:
    """Makes certificates; its own is ``ca.pem``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        certificate = (
            self._builder(self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = directory / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certify(self, name: str, of: x509.GeneralName, usage: x509.ObjectIdentifier) -> tuple[Path, Path]:
        """Files with a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName([of]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        return builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)


@dataclass
class Secured:
    """A server, its authority, and the tokens of its callers by role."""

    addr: str
    authority: Authority
    tokens: dict[str, str]


def with_tls(directory: Path) -> tuple[Authority, dict[str, str]]:
    authority = Authority(directory)
    cert, key = authority.certify("server", x509.DNSName("localhost"), ExtendedKeyUsageOID.SERVER_AUTH)
    return authority, {"tls.cert": str(cert), "tls.key": str(key)}


def by_name(server: Server) -> str:
    """The server's address with the name that is in its certificate."""
    return server.addr.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tokens")
    authority, settings = with_tls(directory)
    tokens = {role: secrets.token_hex(32) for role in ("reader", "writer")}
    callers = directory / "callers"
    callers.write_text(
        "".join(f"{role} {sha256(token.encode()).hexdigest()} {role}\n" for role, token in tokens.items())
    )
    settings |= {"auth.mode": "token", "auth.tokens_file": str(callers)}
    with Server(settings=settings) as server:
        yield Secured(by_name(server), authority, tokens)


def test_a_token_over_tls_entitles(connect: Callable[..., Any], secured: Secured) -> None:
    client = connect(secured.addr, tls_ca=secured.authority.file, token=secured.tokens["writer"])
    assert client.get("1").data.user_id == "1"
    assert client.invalidate("1").token


def test_a_missing_or_unknown_token_is_refused(connect: Callable[..., Any], secured: Secured) -> None:
    for token in (None, "unknown"):
        client = connect(secured.addr, tls_ca=secured.authority.file, token=token)
        with pytest.raises(UnauthenticatedError) as raised:
            client.get("1")
        assert raised.value.reason == "UNAUTHENTICATED"
        with pytest.raises(UnauthenticatedError):
            list(client.warm(["1"]))


def test_a_role_is_not_exceeded(connect: Callable[..., Any], secured: Secured) -> None:
    client = connect(secured.addr, tls_ca=secured.authority.file, token=secured.tokens["reader"])
    with pytest.raises(PermissionDeniedError) as raised:
        client.invalidate("1")
    assert raised.value.metadata["role"] == "reader"


def test_a_server_that_another_authority_certified_is_not_trusted(
    connect: Callable[..., Any], secured: Secured, tmp_path: Path
) -> None:
    for trust in ({"tls_ca": Authority(tmp_path).file}, {}):
        client = connect(secured.addr, token=secured.tokens["reader"], **trust)
        # It is not repeated, so the test need not wait.
        with pytest.raises(UnavailableError):
            list(client.warm(["1"]))


def test_a_client_certificate_entitles(connect: Callable[..., Any], tmp_path: Path) -> None:
    authority, settings = with_tls(tmp_path)
    uri = "spiffe://example/planner"
    cert, key = authority.certify("client", x509.UniformResourceIdentifier(uri), ExtendedKeyUsageOID.CLIENT_AUTH)
    principals = tmp_path / "principals"
    principals.write_text(f"reader {uri} planner\n")
    settings |= {"auth.mode": "mtls", "tls.client_ca": str(authority.file), "auth.principals_file": str(principals)}
    with Server(settings=settings) as server:
        client = connect(by_name(server), tls_ca=authority.file, tls_cert=cert, tls_key=key)
        assert client.get("1").data.user_id == "1"
        client.close()
