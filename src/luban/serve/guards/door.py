"""The door: turns the headers of a request into its `Caller`, or sends it away.

Three kinds of callers: holders of LUBAN_API_KEY (role `admin`: whoever sets a server's environment owns it),
of keys made by `luban keys` (role, models and limit as they were made), and bearers of OIDC tokens. Decided here:

- keys of the ledger are served from a copy that a thread renews every `poll_s`; so a key that is revoked is refused
  within that time, also on connections that are open. A ledger that cannot be read changes nothing, but what expires
  meanwhile has expired;
- a ledger that ever had a key keeps the door locked, also when the last one is revoked; so does one that could
  not be read yet: in doubt, nobody comes in;
- who was let in is remembered by a hash of the headers, for as long as key or token are good and the copy is
  the same, at most MAX_SEEN of them.

One event loop asks; the thread exchanges what is known by one assignment. Knows no route and no limit.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from luban.errors import LubanError
from luban.serve.guards.clock import Clock
from luban.serve.guards.key_records import KeyRecord, hashed, id_in
from luban.serve.guards.keys import Keys
from luban.serve.guards.limits_config import LimitConfig
from luban.serve.guards.oidc import Oidc, looks_like_token
from luban.serve.guards.once import once_of
from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY, Caller

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.guards.keyring import Keyring
    from luban.store.home import Home

LOG = logging.getLogger("luban.serve")
MAX_SEEN = 10_000
STOP_S = 2.0
"""How long a server that stops waits for each look; a ledger or provider may hold that up for longer."""
MAX_HEADER = 16 * 1024
STRANGER = Caller("anybody", "caller")
"""Who asks where `no_key` opens a server to others than this machine."""


@dataclass(frozen=True, slots=True)
class _Seen:
    caller: Caller
    until: float


@dataclass(frozen=True)
class _Known:
    """What the door knows at a time; `seen` belongs to it, so that both are exchanged together."""

    records: Mapping[str, KeyRecord] = field(default_factory=dict)
    read: bool = True
    seen: dict[bytes, _Seen] = field(default_factory=dict)


class Door:
    """Lets callers in. `everybody` is who comes where nobody is asked for a key."""

    def __init__(
        self,
        keys: Keys,
        keyring: Keyring | None = None,
        oidc: Oidc | None = None,
        poll_s: float = 1.0,
        everybody: Caller = ANYBODY,
        shared: Path | None = None,
    ) -> None:
        self.reason = ""
        """Why keys could not be read, or tokens not be checked; "" if all is well."""
        self.shared = shared
        """A folder that all processes of this server share; None where there is but one process."""
        self._keys = keys
        self._keyring = keyring
        self._oidc = oidc
        self._poll_s = poll_s
        self._everybody = everybody
        self._clock = Clock()
        self._known = _Known(read=keyring is None)
        self._reasons = {self._read_keys: "", self._renew: ""}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @classmethod
    def open(
        cls, config: ServeConfig, environment: Mapping[str, str], home: Home | None, shared: Path | None = None
    ) -> Door:
        """The door of a server. Raises ConfigError.

        `home` has the ledger, None for a bundle in a folder; `shared` is a folder that all processes of the server
        share, None where there is but one.
        """
        keyring = None
        if home is not None:
            from luban.serve.guards.keyring import Keyring

            keyring = Keyring(home.ledger)
        settings = config.auth.oidc
        oidc = None if settings is None else Oidc(settings, once_of(config, shared) if settings.one_time else None)
        return cls(
            Keys.from_environment(environment),
            keyring,
            oidc,
            config.poll_s,
            STRANGER if config.no_key else ANYBODY,
            shared,
        )

    def __bool__(self) -> bool:
        """Whether a key or token is asked for."""
        known = self._known
        return bool(self._keys) or self._oidc is not None or bool(known.records) or not known.read

    def start(self) -> None:
        """Look once, then go on looking in a thread."""
        self.check()
        # Two threads: a key that was revoked must not wait for a provider that is slow.
        for look, wanted in ((self._read_keys, self._keyring is not None), (self._renew, self._oidc is not None)):
            if wanted:
                thread = threading.Thread(target=self._poll, args=(look,), name="luban-door", daemon=True)
                thread.start()
                self._threads.append(thread)

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def check(self) -> None:
        """Read the keys of the ledger and, where it is time, of the provider of tokens."""
        for look in self._reasons:
            self._look(look)

    def _look(self, look: Callable[[], None]) -> None:
        self._reasons[look] = _looked(look)
        reason = " ".join(filter(None, self._reasons.values()))
        if reason and reason != self.reason:
            LOG.warning("keys not read", extra={"fields": {"reason": reason}})
        self.reason = reason

    def enter(self, authorization: str = "", x_api_key: str = "") -> Caller:
        """Who asks, by two headers ("" where absent). Raises Problem; NotYet where something must be fetched first."""
        known = self._known
        if not self:
            return self._everybody
        mark = hashlib.blake2b(f"{authorization}\0{x_api_key}".encode("utf-8", "replace"), digest_size=16).digest()
        seen = known.seen.get(mark)
        if seen is not None and self._clock.now() < seen.until:
            return seen.caller
        if len(authorization) + len(x_api_key) > MAX_HEADER:
            raise refused("The key or token is too long.")
        scheme, _, token = authorization.partition(" ")
        caller, until = self._identify(token.strip() if scheme.lower() == "bearer" else x_api_key, known)
        if until > 0:
            if len(known.seen) >= MAX_SEEN:
                known.seen.clear()
            known.seen[mark] = _Seen(caller, until)
        return caller

    def limit_of(self, caller_id: str) -> LimitConfig | None:
        """The limit that a key was made with."""
        record = self._known.records.get(caller_id)
        return None if record is None else record.limit

    def _identify(self, given: str, known: _Known) -> tuple[Caller, float]:
        """The caller, and until when that may be remembered: 0 for not at all."""
        number = self._keys.find(given)
        if number is not None:
            return Caller("LUBAN_API_KEY", "admin", None, f"environment:{number}"), math.inf
        id = id_in(given)
        if id is not None:
            return self._by_record(given, known.records.get(id))
        if self._oidc is not None and looks_like_token(given):
            return self._oidc.identify(given)
        raise refused("The request has no API key, or one that is not known here.")

    def _by_record(self, given: str, record: KeyRecord | None) -> tuple[Caller, float]:
        # Compared also where there is none: an answer's time does not tell whether an id exists.
        fits = hmac.compare_digest(hashed(given), bytes(32) if record is None else record.hash)
        if record is None or not fits:
            raise refused("The request has no API key, or one that is not known here.")
        state = record.state(self._clock.now())
        if state != "good":
            why = "was revoked" if state == "revoked" else "has expired"
            raise refused(f"The API key `{record.id}` {why}.", "Ask whoever runs this server for a new one.")
        until = math.inf if record.expires is None else record.expires
        return Caller(record.name, record.role, record.models, record.id), until

    def _poll(self, look: Callable[[], None]) -> None:
        while not self._stop.wait(self._poll_s):
            self._look(look)

    def _renew(self) -> None:
        if self._oidc is not None:
            self._oidc.renew()

    def _read_keys(self) -> None:
        if self._keyring is None:
            return
        records = self._keyring.records()
        if not self._known.read or records != self._known.records:
            self._known = _Known(records)


def _looked(look: Callable[[], None]) -> str:
    """Why it failed, on one line; the thread must outlive whatever a database driver raises."""
    try:
        look()
    except (LubanError, OSError) as error:
        return " ".join(str(error).split())
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def refused(detail: str, todo: str = "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.") -> Problem:
    """What to say to one who is not let in (RFC 6750)."""
    return Problem("no-key", detail, todo, headers={"www-authenticate": "Bearer"})
