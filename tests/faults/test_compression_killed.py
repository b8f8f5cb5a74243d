"""kill -9 of `luban compress`, then `luban compress`: one result, by the decisions that were recorded."""

from __future__ import annotations

from pathlib import Path

from .project import Tiny, check_whole, side_by_side

KILLS = 3
CALL = ("compress", "--json", "--set", "compress.methods=[{kind: int8, min_table_values: 1}]")
"""The words of a linear model are a table, so that there is something to try."""


def test_killed_in_compression(tmp_path: Path) -> None:
    trained = Tiny.made(tmp_path / "trained")
    trained.done("train")
    whole = trained.copy(tmp_path / "whole")
    counted = whole.killed_at(0, *CALL)
    changes = int(counted.err.rsplit("changes ", 1)[1])
    (tried,) = counted.events[-1]["tried"]
    assert tried["code"] not in ("unsupported", "failed"), tried

    def one(number: int) -> None:
        tiny = trained.copy(tmp_path / str(number))
        killed = tiny.killed_at(number, *CALL)
        assert killed.status == -9, killed.err
        decided = dict(_decisions(tiny))
        answer = tiny.done(*CALL)
        assert decided.items() <= dict(_decisions(tiny)).items(), "what the clock said was asked again"
        (again,) = answer.events[-1]["tried"]
        assert again["before"] == tried["before"]
        assert again["after"] == tried["after"]
        assert answer.kept()["train"]
        check_whole(tiny)

    side_by_side(one, [1 + changes * part // KILLS for part in range(KILLS)])


def _decisions(tiny: Tiny) -> list[tuple[str, str]]:
    """What was decided by the clock of compression, by result and name."""
    from sqlalchemy import select

    from luban.store.tables import decisions

    with tiny.ledger.reading() as tx:
        found = tx.execute(select(decisions)).all()
    return [(f"{row.scope}/{row.key}", row.value) for row in found if row.key.startswith("int8")]
