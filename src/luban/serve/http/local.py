"""Who may ask a server that asks for no key: programs of this machine, and no page of the web.

Without keys whoever reaches the port is `admin`, so it is open to this machine alone. But a browser on this machine
reaches it too, for whatever page it shows. Two ways are closed here: a page that sends a form or an empty POST to an
address of this machine says its `Origin`; one whose own name was made to lead here (DNS rebinding) says that name as
`Host`. So a proxy that passes requests of others on to such a server is refused, too, unless it hides their Host.
Knows no route and no key.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY, Caller

if TYPE_CHECKING:
    from luban.serve.http.wire import Request


def check_local(request: Request, caller: Caller) -> None:
    """Raises Problem where no key was asked for, and a page of the web seems to ask."""
    if caller is ANYBODY and not is_own(request.header("host"), request.header("origin")):
        detail = "Without API keys this server answers its own machine alone, by `localhost` or an address."
        raise Problem("not-allowed", detail, "Make a key: `luban keys create`. Or serve with --no-key.")


@lru_cache(1024)
def is_own(host: str, origin: str) -> bool:
    """Whether headers `Host` and `Origin` ("" where absent) are those of a program, or page, of this machine.

    >>> is_own("localhost:8000", ""), is_own("127.0.0.1:8000", "http://127.0.0.1:8000")
    (True, True)
    >>> is_own("rebound.example:8000", ""), is_own("localhost:8000", "https://example.com"), is_own("localhost", "null")
    (False, False, False)
    """
    name = _name(host)
    if host and not (_is_localhost(name) or _address(name) is not None):
        return False
    if not origin or (host and origin.lower().partition("://")[2] == host.lower()):
        return True
    page = _name(origin.partition("://")[2])
    address = _address(page)
    return _is_localhost(page) or (address is not None and address.is_loopback)


def _name(host: str) -> str:
    """The host without its port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
