"""TLS in the server itself (`serve.tls`), for who has no proxy in front.

TLS 1.2 and 1.3 with the interpreter's defaults of ciphers, which are those of OpenSSL. Certificate and key are read
again when their files change, so that a renewed one is used without a restart; one that cannot be read is said in
the log, and the old one stays. With `client_ca` only clients with a certificate of that authority are let in,
before anything is asked of them. Knows no route and no key of the application.
"""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

from pydantic import Field

from luban.catalog import Config
from luban.errors import ServeError

LOG = logging.getLogger("luban.serve")


class TlsConfig(Config):
    """A certificate, so that the server speaks HTTPS."""

    cert: Path
    """The certificate, with those between it and its authority, in PEM."""
    key: Path
    """Its private key in PEM, without a password; nobody else should be able to read the file."""
    client_ca: Path | None = None
    """Certificates of authorities in PEM: clients must then show one of theirs (mutual TLS)."""
    reload_s: float = Field(5.0, gt=0)
    """Seconds between two looks whether certificate or key have changed."""


class Tls:
    """The context that connections are made with; a thread keeps it up to date."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._read(self.context)
        if config.client_ca is not None:
            try:
                self.context.load_verify_locations(config.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise _cannot("client_ca", config.client_ca, error) from None
            self.context.verify_mode = ssl.CERT_REQUIRED
        self._seen = self._stamps()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="luban-tls", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join(5)

    def look(self) -> None:
        """Read certificate and key again if they have changed."""
        stamps = self._stamps()
        if stamps == self._seen or None in stamps:
            return
        self._seen = stamps
        try:
            # Tried apart first: one half of a new pair with the other of the old must not be used.
            self._read(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._read(self.context)
        except ServeError as error:
            LOG.error("certificate not read", extra={"fields": {"reason": error.message}})
        else:
            LOG.info("certificate read again", extra={"fields": {"file": self._config.cert.name}})

    def _watch(self) -> None:
        while not self._stop.wait(self._config.reload_s):
            self.look()

    def _read(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._config.cert, self._config.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _cannot("cert", self._config.cert, error) from None

    def _stamps(self) -> tuple[int | None, ...]:
        return tuple(_stamp(path) for path in (self._config.cert, self._config.key))


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None  # It is being replaced, or was taken away: what was read stays.


def _no_password() -> str:
    raise ValueError("the key has a password")


def _cannot(field: str, path: Path, error: Exception) -> ServeError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ServeError(
        f"`serve.tls.{field}` must be a certificate with its key in PEM, but got {path}: {reason}.",
        "Give the whole chain in `cert` and its key, without a password, in `key`.",
    )
