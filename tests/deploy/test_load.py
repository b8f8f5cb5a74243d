"""The open-loop load, against a server that is told how to behave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from luban.deploy.load import drive, request_bytes
from luban.errors import ServeError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def answering(behave: Callable[[int, asyncio.StreamWriter], object]) -> Iterator[str]:
    """A server on loopback; `behave(number of the request, writer)` answers each request."""
    loop = asyncio.new_event_loop()
    seen = 0

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                seen += 1
                found = behave(seen, writer)
                if asyncio.iscoroutine(found):
                    await found
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(client, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Stop listening, and let clients that went away be noticed."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait(others, timeout=5) if others else None


def test_every_request_is_answered_once() -> None:
    with answering(lambda number, writer: writer.write(OK)) as address:
        load = drive(address, [request_bytes(address, "/x", b"{}")], rate=400, duration_s=0.5, num_connections=4)
    assert load.statuses == {200: 200}
    assert load.num_failed == 0
    assert len(load.seconds) == 200
    assert all(seconds > 0 for seconds in load.seconds)


def test_a_stall_is_felt_by_all_who_come_meanwhile() -> None:
    async def stall(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 20:
            await asyncio.sleep(0.4)
        writer.write(OK)

    with answering(stall) as address:
        load = drive(address, [request_bytes(address, "/x", b"{}")], rate=100, duration_s=1.0, num_connections=1)
    assert load.num_failed == 0
    slow = sum(1 for seconds in load.seconds if seconds > 0.1)
    assert slow >= 20, "a closed loop would have seen one slow request"


def test_refusals_and_broken_connections_are_counted() -> None:
    def behave(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 3 == 0:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif number == 5:
            writer.close()
        else:
            writer.write(OK)

    with answering(behave) as address:
        load = drive(address, [request_bytes(address, "/x", b"{}")], rate=100, duration_s=0.3, num_connections=2)
    assert load.statuses[503] >= 8
    assert load.num_broken == 1
    assert load.num_failed == load.statuses[503] + 1
    assert sum(load.statuses.values()) + load.num_broken == 30


def test_nobody_listens() -> None:
    with pytest.raises(ServeError, match="Nothing answers"):
        drive("http://127.0.0.1:9", [b""], 1, 0.1)
