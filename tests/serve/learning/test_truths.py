"""Joining truths to answers leaves nothing behind that waits for the collector."""

import gc
import weakref
from pathlib import Path

from luban.serve.learning.truths import join
from luban.store.ledger import Ledger
from luban.tasks.base import Judgement


class Id(str):
    """A request id whose end can be seen."""


def test_ids_that_were_looked_for_are_not_held_by_circles(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")

    def look() -> list[weakref.ref[Id]]:
        ids = [Id(f"request-{number}") for number in range(600)]
        with ledger.transaction() as tx:
            assert join(tx, [(one, 0) for one in ids], lambda *_: Judgement(None, None)) == 0
        return [weakref.ref(one) for one in ids]

    look()  # the first time statements are compiled, and kept
    was = gc.isenabled()
    gc.disable()
    try:
        assert not [one for one in look() if one() is not None]
    finally:
        if was:
            gc.enable()
    ledger.close()
