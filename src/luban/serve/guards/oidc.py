"""Bearer tokens of an OpenID Connect provider (RFC 6750, 7519, 8725; OpenID Connect Discovery 1.0).

Decided here: only public-key signatures, and only the algorithms that are configured (so `none` and the HS256
confusion are refused before a key is looked at); `exp`, `iat`, `iss`, `aud`, `sub` are required, `nbf` is kept;
a token without a role that is mapped is refused. The provider's keys are fetched by the door's thread, and anew
where a token names one that is unknown, at most every `min_refresh_s`; those that ask wait for it, the event loop
does not. Keys that cannot be fetched again go on being used for `keep_s`, then nobody is let in. A key that the
provider took back lets nobody in once that was fetched, `REMEMBERED_S` later at the latest.

What a bearer token can do: whoever holds it is its subject, until it expires; a copy cannot be told from the
original. `one_time` lets each `jti` in once. Without it, take short lives (`max_age_s`) and TLS.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from luban.catalog import need
from luban.errors import ServeError
from luban.policy.rules import ROLES, Role
from luban.serve.guards.auth import OidcConfig
from luban.serve.guards.clock import Clock
from luban.serve.guards.provider import Provider
from luban.serve.http.problems import NotYet, Problem
from luban.serve.question import Caller

LOG = logging.getLogger("luban.serve")
REMEMBERED_S = 60.0
"""How long a token that was let in is not looked at again: so long one may come in whose key the provider took back."""
MAX_TIME = 1e12
"""Seconds since 1970 beyond which a time is none."""
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]


class Once(Protocol):
    """Remembers what may come once."""

    def take(self, name: str, until: float) -> bool:
        """Whether this is the first time; remembered `until` (seconds since 1970). Raises Problem, NotYet."""


def looks_like_token(given: str) -> bool:
    """Whether a text has the three parts of a signed JWT."""
    return given.count(".") == 2


class Oidc:
    """Tells who the bearer of a token is. Belongs to one event loop; `renew` may be called by a thread."""

    def __init__(self, config: OidcConfig, once: Once | None = None) -> None:
        self._jwt = need("jwt", "oidc")
        need("cryptography", "oidc")
        if config.one_time and once is None:
            raise AssertionError("`one_time` needs a memory of what came")
        self._config = config
        self._once = once if config.one_time else None
        self._clock = Clock()
        self._provider = Provider(config)
        self._keys: Mapping[str, Any] = {}
        self._fetched = self._tried = -float("inf")
        self._fetching = threading.Lock()
        self._flight: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """Fetch the provider's keys if it is time to. Raises ServeError where that fails."""
        if time.monotonic() - self._fetched >= self._config.refresh_s and self._may_try():
            self._fetch()

    def identify(self, token: str) -> tuple[Caller, float]:
        """The bearer, and until when (seconds since 1970) that stands: 0 where each use must be looked at.

        Raises Problem; NotYet where the provider's keys must be fetched first.
        """
        key = self._key(self._head(token))
        try:
            claims = self._jwt.decode(
                token,
                key=key.key,
                algorithms=[key.algorithm_name],
                audience=self._config.audience,
                issuer=self._config.issuer,
                options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (self._jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid(f"The token is refused: {_reason(error)}.") from None
        until = self._in_time(claims)
        caller = self._caller(claims)
        if self._once is None:
            return caller, min(until, self._clock.now() + REMEMBERED_S)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not jti:
            raise _invalid("The token has no `jti`, without which it cannot be let in once.")
        if not self._once.take(_short_hash(self._config.issuer, jti), until):
            raise _invalid("The token was used before; each may be used once.")
        return caller, 0.0

    def _head(self, token: str) -> Mapping[str, Any]:
        try:
            head: Mapping[str, Any] = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, ValueError, TypeError):
            raise _invalid("The token is not one that can be read.") from None
        if "crit" in head:  # RFC 7515, 4.1.11: none of these extensions is understood here.
            raise _invalid("The token has extensions (`crit`) that are not known here.")
        if head.get("alg") not in self._config.algorithms:
            raise _invalid(f"The token's algorithm must be one of {', '.join(self._config.algorithms)}.")
        return head

    def _key(self, head: Mapping[str, Any]) -> Any:
        """The public key that a token names."""
        if time.monotonic() - self._fetched > self._config.keep_s:
            raise self._later("The keys of the provider of tokens could not be fetched.", "no-provider")
        name, algorithm = head.get("kid"), head["alg"]
        if name is None and len(self._keys) == 1:
            name = next(iter(self._keys))
        found = self._keys.get(name) if isinstance(name, str) else None
        if found is None:
            raise self._later("The token is signed by a key that the provider does not have.", "no-key")
        if found.algorithm_name != algorithm:
            raise _invalid("The token's algorithm is not that of the key it names.")
        return found

    def _later(self, detail: str, kind: str) -> Problem:
        """Fetch the keys and look again; or a refusal, where they were fetched a moment ago."""
        if kind == "no-key":
            problem = _invalid(detail)
        else:
            problem = Problem(kind, detail, "Ask again later, or with an API key.", None, {"retry-after": "5"})
        running = self._flight is not None and not self._flight.done()
        return NotYet(problem, self._refetched) if running or self._may_try() else problem

    def _may_try(self) -> bool:
        return time.monotonic() - self._tried >= self._config.min_refresh_s

    async def _refetched(self) -> None:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(asyncio.to_thread(self._fetch_quietly))
        await asyncio.shield(self._flight)

    def _fetch_quietly(self) -> None:
        try:
            self._fetch()
        except ServeError as error:  # Told to the client as an unknown key, and to the log here.
            LOG.warning("keys not read", extra={"fields": {"reason": error.message}})

    def _fetch(self) -> None:
        with self._fetching:
            self._tried = time.monotonic()
            self._keys = self._provider.keys()
            self._fetched = time.monotonic()

    def _in_time(self, claims: Mapping[str, Any]) -> float:
        """When the token ends, leeway and all."""
        ends, begins, made = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
        leeway = self._config.leeway_s
        if ends is None or made is None or (begins is None and claims.get("nbf") is not None):
            raise _invalid("The token's `exp`, `iat` and `nbf` must be numbers.")
        if self._clock.now() >= ends + leeway:
            raise _invalid("The token has expired.")
        if max(begins or 0.0, made) > self._clock.earliest() + leeway:
            raise _invalid("The token is not valid yet.")
        if ends - made > self._config.max_age_s:
            raise _invalid(f"The token lives longer than {self._config.max_age_s:g} s.")
        return ends + leeway

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        given = _list(_at(claims, self._config.role_claim))
        found: list[Role] = [self._config.roles[name] for name in given if name in self._config.roles]
        if not found:
            detail = f"The token has no role that is known here in `{self._config.role_claim}`."
            raise Problem("not-allowed", detail, "Ask for one that has, or map it in `serve.auth.oidc.roles`.")
        models = None
        if self._config.models_claim is not None:
            models = frozenset(_list(_at(claims, self._config.models_claim)))
        subject = str(claims["sub"])
        name = "".join(one for one in subject if one.isprintable())[:100].strip()
        id = f"oidc:{_short_hash(self._config.issuer, subject)}"
        return Caller(name or id, max(found, key=ROLES.index), models, id)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at a path; a name with dots in it (a URL) is looked for whole first."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _list(value: Any) -> list[str]:
    """Strings in a list, or in a text with spaces between (`scope`)."""
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MAX_TIME:
        return None  # NaN is compared with nothing, and would never expire.
    return float(value)


def _short_hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def _reason(error: Exception) -> str:
    """What the library says, without values of the token."""
    return {
        "InvalidSignatureError": "its signature does not fit",
        "InvalidAudienceError": "it is for another audience",
        "InvalidIssuerError": "it is of another issuer",
        "MissingRequiredClaimError": f"it must have {', '.join(f'`{name}`' for name in _REQUIRED)}",
    }.get(type(error).__name__, "it cannot be read")


def _invalid(detail: str) -> Problem:
    headers = {"www-authenticate": 'Bearer error="invalid_token"'}
    return Problem("no-key", detail, "Get a new token from the provider, and send it once it is valid.", None, headers)
