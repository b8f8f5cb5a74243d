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
from typing import Self

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

    def seen_from(self, folder: Path) -> Self:
        """The same, with relative paths seen from a folder: the one of luban.yaml."""
        files = {"cert": self.cert, "key": self.key, "client_ca": self.client_ca}
        return self.model_copy(update={name: folder / path for name, path in files.items() if path is not None})


class Tls:
    """The context that connections are made with; a thread keeps it up to date.

    A handshake that begins takes the newest pair, whole: one context is never changed while it is used.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._seen = self._stamps()
        self._newest = self.context = self._made()
        self.context.sni_callback = self._choose
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
            self._newest = self._made()
        except ServeError as error:
            LOG.error("certificate not read", extra={"fields": {"reason": error.message}})
        else:
            LOG.info("certificate read again", extra={"fields": {"file": self._config.cert.name}})

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called at each handshake, whether or not the client names a server."""
        connection.context = self._newest

    def _watch(self) -> None:
        while not self._stop.wait(self._config.reload_s):
            self.look()

    def _made(self) -> ssl.SSLContext:
        """A context with what stands in the files. Raises ServeError."""
        config, context = self._config, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        for name, path in (("cert", config.cert), ("key", config.key), ("client_ca", config.client_ca)):
            if path is not None and not path.exists():
                told = f"`serve.tls.{name}` must be a file, but there is no `{path}`."
                raise ServeError(told, "Name one; how to make one for a trial stands in the guide, under guards.")
        try:
            context.load_cert_chain(config.cert, config.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _cannot("cert", config.cert, error) from None
        if config.client_ca is not None:
            try:
                context.load_verify_locations(config.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise _cannot("client_ca", config.client_ca, error) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

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
