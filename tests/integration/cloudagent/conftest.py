"""A client against real sockets. Each test runs on asyncio's event loop and on uvloop, the workers' one."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.cloudagent.addresses import AddressPolicy, IPAddress
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.transport import CloudAgentTransport
from app.secrets import Secret


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(Secret("KK0123456789abcdef"))


@pytest.fixture
async def client() -> AsyncIterator[CloudAgentClient]:
    client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True)))
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and cloudagent.test, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudagent.test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("cloudagent.test"), x509.IPAddress(ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture(scope="session")
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
async def trusting_client(certificate: Path) -> AsyncIterator[CloudAgentClient]:
    """A client that trusts the certificate of the test."""

    async def resolver(host: str, port: int) -> list[IPAddress]:
        return [ip_address("127.0.0.1")]

    transport = CloudAgentTransport(
        AddressPolicy(allow_loopback=True),
        resolver=resolver,
        ssl_context=ssl.create_default_context(cafile=str(certificate)),
    )
    client = CloudAgentClient(transport)
    yield client
    await client.aclose()
