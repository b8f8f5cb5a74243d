"""What is fetched of an OpenID Connect provider: its settings and its public keys (RFC 7517).

Answers are bounded in bytes and time, redirects are not followed, addresses are https (http only on loopback). Of
the keys only public ones for signatures are taken, of algorithms that are configured. Knows no token.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from luban.catalog import need
from luban.errors import ServeError
from luban.serve.guards.auth import OidcConfig, is_safe

LOG = logging.getLogger("luban.serve")
MAX_BYTES = 1024 * 1024
MAX_KEYS = 100
_ALGORITHM_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """None: the answer stands as it is, an error."""
        return


class Provider:
    """Fetches; blocking, so never on an event loop."""

    def __init__(self, config: OidcConfig) -> None:
        self._config = config
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._jwks_url = config.jwks_url

    def keys(self) -> dict[str, Any]:
        """The public keys by their `kid`. Raises ServeError."""
        if self._jwks_url is None:
            self._jwks_url = self._discover()
        jwk = need("jwt", "oidc").PyJWK
        found: dict[str, Any] = {}
        listed = self._get(self._jwks_url).get("keys")
        for one in listed[:MAX_KEYS] if isinstance(listed, list) else []:
            algorithm = _algorithm(one, self._config.algorithms)
            if algorithm is None:
                continue
            try:
                found[str(one.get("kid", ""))] = jwk(one, algorithm)
            except Exception as error:  # One key that is no key stops no other; libraries raise what they like.
                LOG.warning("a key of the provider cannot be read", extra={"fields": {"reason": type(error).__name__}})
        if not found:
            raise ServeError(f"{self._jwks_url} has no public key for {', '.join(self._config.algorithms)}.")
        return found

    def _discover(self) -> str:
        url = f"{self._config.issuer.rstrip('/')}/.well-known/openid-configuration"
        told = self._get(url)
        if told.get("issuer") != self._config.issuer:
            raise ServeError(f"{url} is of another issuer than {self._config.issuer}.", "Set `serve.auth.oidc.issuer`.")
        found = told.get("jwks_uri")
        if not isinstance(found, str) or not is_safe(found):
            raise ServeError(f"{url} names no safe `jwks_uri`.", "Set `serve.auth.oidc.jwks_url`.")
        return found

    def _get(self, url: str) -> Mapping[str, Any]:
        try:
            with self._opener.open(url, timeout=self._config.timeout_s) as response:
                data = self._read(response)
            found = json.loads(data) if len(data) <= MAX_BYTES else None
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise ServeError(f"Cannot read {url}: {error}.") from None
        if not isinstance(found, dict):
            raise ServeError(f"{url} did not answer with a JSON object of at most {MAX_BYTES} bytes.")
        return found

    def _read(self, response: Any) -> bytes:
        """The body, in `timeout_s` altogether: the socket's own limit begins anew with each byte that drips in."""
        end, data = time.monotonic() + self._config.timeout_s, bytearray()
        while len(data) <= MAX_BYTES and (piece := response.read1(MAX_BYTES + 1)):
            data += piece
            if time.monotonic() > end:
                raise TimeoutError("it came too slowly")
        return bytes(data)


def _algorithm(key: Any, allowed: tuple[str, ...]) -> str | None:
    """The one algorithm that a key is used with; None where it is not for us."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig" or "d" in key:
        return None
    stated = key.get("alg")
    if key.get("kty") == "RSA":
        fits = [name for name in allowed if name[:2] in ("RS", "PS")]
    else:
        fits = [name for name in allowed if name == _ALGORITHM_OF_CURVE.get(str(key.get("crv")))]
    if stated is not None:
        return str(stated) if stated in fits else None
    return fits[0] if fits else None
