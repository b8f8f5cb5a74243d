"""HTTPS by the server itself, with certificates made here."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from luban.errors import ServeError
from luban.serve.config import ServeConfig
from luban.serve.http.tls import Tls, TlsConfig
from luban.serve.server import serving

from ..conftest import FakeBundle, HandOrigin

ROWS = {"rows": [{"text": "short"}]}


class Authority:
    """Makes certificates for 127.0.0.1 and for clients."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._sign(self._name, self._key.public_key(), True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), True)
            .add_extension(x509.SubjectAlternativeName([loopback]), False)
            .sign(self._key, hashes.SHA256())
        )

    def make(self, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, secret = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert.write_bytes(self._sign(subject, key.public_key(), False).public_bytes(serialization.Encoding.PEM))
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        secret.chmod(stat.S_IRUSR | stat.S_IWUSR)
        return cert, secret


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def config(authority: Authority) -> ServeConfig:
    cert, key = authority.make("server")
    return ServeConfig(port=0, poll_s=0.02, head_timeout_s=2, tls=TlsConfig(cert=cert, key=key, reload_s=0.02))


@pytest.fixture
def address(origin: HandOrigin, bundle: FakeBundle, config: ServeConfig) -> Iterator[str]:
    with serving(origin, config, {}) as address:
        yield address


def client(address: str, authority: Authority, own: tuple[Path, Path] | None = None) -> httpx.Client:
    context = ssl.create_default_context(cafile=authority.path)
    if own is not None:
        context.load_cert_chain(*own)
    return httpx.Client(base_url=address, verify=context, timeout=10)


def test_https(address: str, authority: Authority) -> None:
    assert address.startswith("https://")
    with client(address, authority) as found:
        assert found.post("/v1/predict", json=ROWS).json()["answers"][0]["label"] == "short"
        assert found.get("/v1/model").status_code == 200
        assert f"curl {address}" in found.get("/").text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_plain_http_and_old_versions_get_nothing(address: str, authority: Authority) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(address.replace("https", "http") + "/health", timeout=10)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{address}/health", verify=old, timeout=10)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{address}/health", timeout=10)  # an authority that is not known


def test_a_slow_head_is_cut_off(address: str, authority: Authority) -> None:
    host, port = address.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=authority.path)
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400")


class TestMutual:
    @pytest.fixture
    def config(self, authority: Authority) -> ServeConfig:
        cert, key = authority.make("server")
        return ServeConfig(port=0, tls=TlsConfig(cert=cert, key=key, client_ca=authority.path))

    def test_clients_show_a_certificate(self, address: str, authority: Authority, tmp_path: Path) -> None:
        with client(address, authority, authority.make("client")) as good:
            assert good.get("/health").status_code == 200
        with pytest.raises(httpx.HTTPError), client(address, authority) as none:
            none.get("/health")
        forged = Authority(tmp_path, "forger").make("forged")
        with pytest.raises(httpx.HTTPError), client(address, authority, forged) as wrong:
            wrong.get("/health")


def _serial(address: str) -> int:
    host, port = address.removeprefix("https://").split(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode()).serial_number


def test_a_renewed_certificate_is_used_at_once(address: str, authority: Authority, config: ServeConfig) -> None:
    from waiting import until

    before = _serial(address)
    with client(address, authority) as open_before:
        assert open_before.get("/health").status_code == 200
        authority.make("server")
        until(lambda: _serial(address) != before)
        assert open_before.get("/health").status_code == 200
    with client(address, authority) as found:
        assert found.get("/health").status_code == 200


def test_files_are_seen_from_the_project_and_missed_by_name(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.make("server")
    there = TlsConfig(cert=Path(cert.name), key=key).seen_from(cert.parent)
    assert (there.cert, there.key, there.client_ca) == (cert, key, None)
    Tls(there).close()
    with pytest.raises(ServeError, match=r"`serve\.tls\.key` must be a file, but there is no `.*none\.key`"):
        Tls(TlsConfig(cert=cert, key=Path("none.key")).seen_from(tmp_path))


def test_half_a_pair_is_not_used(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    cert, key = authority.make("server")
    tls = Tls(TlsConfig(cert=cert, key=key, reload_s=1000))
    caplog.set_level("INFO", "luban.serve")
    authority.make("other")[0].replace(cert)
    tls.look()
    tls.look()
    assert caplog.messages == ["certificate not read"]
    for new, old in zip(authority.make("third"), (cert, key), strict=True):
        new.replace(old)
    tls.look()
    assert caplog.messages[1:] == ["certificate read again"]
    cert.unlink()
    tls.look()
    assert len(caplog.messages) == 2
    tls.close()


def test_what_is_no_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.make("server")
    other, _ = authority.make("other")
    _, locked = authority.make("locked", b"a password")
    (tmp_path / "empty").touch()
    wrong = [(tmp_path / "nowhere", key), (cert, tmp_path / "empty"), (other, key), (cert, locked)]
    for one, two in wrong:
        with pytest.raises(ServeError, match=r"`serve\.tls\.cert` must be"):
            Tls(TlsConfig(cert=one, key=two))
    with pytest.raises(ServeError, match=r"`serve\.tls\.client_ca` must be"):
        Tls(TlsConfig(cert=cert, key=key, client_ca=tmp_path / "empty"))
