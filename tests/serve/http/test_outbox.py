"""Answers that are held until the loop's next turn: in order, each once, and none to who has gone."""

from __future__ import annotations

import asyncio
from typing import cast

from luban.serve.http.outbox import Outbox


class Connection:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name, self.closed = log, name, False

    def write(self, data: bytes) -> None:
        self.log.append(f"{self.name}{data.decode()}")

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.log.append(f"{self.name} closed")


def test_together_in_order_and_each_once() -> None:
    log: list[str] = []

    async def run() -> None:
        outbox = Outbox()
        a, b, gone = (cast(asyncio.Transport, Connection(log, name)) for name in "abg")
        outbox.write(a, b"1")
        outbox.write(gone, b"1")
        outbox.write(b, b"1", close=True)
        outbox.write(a, b"2")
        asyncio.get_running_loop().call_soon(lambda: log.append("next"))
        gone.close()
        assert log == ["g closed"]
        await asyncio.sleep(0)
        assert log[1:] == ["a1", "b1", "b closed", "a2", "next"]
        outbox.write(b, b"3", at_once=True)
        outbox.write(a, b"3", at_once=True)
        assert log[-1] == "a3", "nothing was held"
        log.pop()
        outbox.write(a, b"3")
        outbox.write(a, b"4", at_once=True)
        assert log[-1] == "next", "not before what is held"
        outbox.flush()
        outbox.flush()
        await asyncio.sleep(0)
        outbox.write(b, b"2")
        await asyncio.sleep(0)

    asyncio.run(run())
    assert log[6:] == ["a3", "a4"]
