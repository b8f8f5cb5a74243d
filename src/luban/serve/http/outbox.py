"""What is to be written to connections, held until the callbacks that are ready have run.

The answers of one batch are made one after the other, some tens of microseconds apart. Written at once, each wakes up
whoever waits for it, and that costs more than the answer; written together, only the first does. Whoever writes to
a connection by another way, or closes it, must `flush` before. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio


class Outbox:
    """The answers of all connections, in order."""

    def __init__(self) -> None:
        self._held: list[tuple[asyncio.Transport, bytes, bool]] = []

    def write(self, transport: asyncio.Transport, data: bytes, close: bool = False, at_once: bool = False) -> None:
        """Write this soon, or `at_once` where nothing is held; with `close`, close the connection behind it."""
        self._held.append((transport, data, close))
        if len(self._held) == 1:
            if at_once:  # An answer that was given alone need not wait for others.
                self.flush()
            else:
                asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write all that is held, now."""
        held, self._held = self._held, []
        for transport, data, close in held:
            if transport.is_closing():
                continue  # The client has gone.
            transport.write(data)
            if close:
                transport.close()
