"""Where a server listens: a bound socket, and its URL.

Decided here: beyond loopback nobody is answered without a key, unless the owner said so; the socket is bound before
anything is loaded from it, so that a taken port is an error of one line. Knows no application.
"""

from __future__ import annotations

import ipaddress
import socket

from luban.errors import ServeError
from luban.serve.config import ServeConfig
from luban.serve.guards.door import Door
from luban.serve.guards.keys import VARIABLE, Keys

MAKE_KEY = f"Make one: `luban keys create`, or set {VARIABLE}. Or say --no-key to answer all who reach the port."


def listen(config: ServeConfig, keys: Keys | Door) -> socket.socket:
    """A bound socket at the configured address. Raises ServeError where it cannot or must not be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ServeError(f"`host` must be an address of this machine, but got {config.host}: {error}.") from None
    if not keys and not config.no_key and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ServeError(
            f"Without an API key the server listens on loopback only, but `host` is {config.host}.",
            MAKE_KEY,
        )
    try:
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}.",
            "Choose another with --port; 0 picks a free one.",
        ) from None


def address_of(listening: socket.socket, config: ServeConfig) -> str:
    """The URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    scheme = "http" if config.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
