"""What looks into the ledger never holds up the event loop, nor a request for long."""

from __future__ import annotations

import asyncio
import threading

import pytest

from luban.errors import StoreError
from luban.serve.http.problems import Problem
from luban.serve.learning import clerk as module
from luban.serve.learning.clerk import Clerk


def test_work_is_done_and_its_faults_are_said(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> int:
        raise StoreError("postgresql://somebody@inside/ledger is locked")

    async def run() -> None:
        clerk = Clerk()
        assert await clerk.do(lambda: 7) == 7
        for _ in range(2):
            with pytest.raises(Problem, match="cannot be used now") as refused:
                await clerk.do(broken)
            assert "inside" not in refused.value.detail + refused.value.todo
        assert refused.value.status == 503
        told = [record for record in caplog.records if record.message == "ledger cannot be used"]
        assert len(told) == 1, "once until it changes"
        assert "somebody@inside" in told[0].fields["reason"]  # type: ignore[attr-defined]
        assert refused.value.headers["retry-after"]
        with pytest.raises(ZeroDivisionError):
            await clerk.do(lambda: 1 // 0)
        clerk.close()

    asyncio.run(run())


def test_a_ledger_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    go_on = threading.Event()

    async def run() -> None:
        clerk = Clerk()
        told = await asyncio.gather(*(clerk.do(lambda: go_on.wait(30)) for _ in range(5)), return_exceptions=True)
        kinds = sorted(one.kind for one in told if isinstance(one, Problem))
        assert kinds == ["busy", "busy", "no-ledger", "no-ledger", "no-ledger"]
        assert not go_on.is_set()
        go_on.set()
        while clerk._waiting:
            await asyncio.sleep(0.01)
        assert await clerk.do(lambda: "again") == "again"
        clerk.close()

    asyncio.run(run())
