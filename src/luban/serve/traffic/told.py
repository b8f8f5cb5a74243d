"""A deployment as people read it: arms with their counts, shadows with their comparison, a canary's or test's state."""

from __future__ import annotations

from typing import Any

from luban.serve.traffic import counts
from luban.serve.traffic.control import Seen
from luban.serve.traffic.counts import Counts, Row
from luban.serve.traffic.plans import CHAMPION, plan_of
from luban.serve.traffic.shadows import Compared
from luban.store.ledger import Ledger


def told(ledger: Ledger, seen: Seen) -> dict[str, Any]:
    """Plain JSON. Counts are of all servers, since what shares the questions began, and None of a champion that answers
    alone, for it is not counted; times in milliseconds."""
    standing, state = seen.standing, seen.standing.state
    begun = state.canary.id if state.canary is not None and state.canary.share else standing.revision
    if state.test is not None and state.test.share:
        begun = state.test.id
    rows = counts.read(ledger, standing.model, standing.deployment, 0)
    ours = [row for row in rows if row.revision >= begun]
    split = standing.split
    champion = (CHAMPION, standing.champion, 1.0 - sum(share for _, _, share in split))
    arms = [champion, *split] if standing.champion is not None else []
    is_counted = plan_of(standing) is not None
    return {
        "model": standing.model,
        "deployment": standing.deployment,
        "revision": standing.revision,
        "arms": [_arm(name, version, share, ours if is_counted else None) for name, version, share in arms],
        "shadows": [_shadow(version, rows) for version in standing.shadows],
        "servers": [_refusal(row) for row in ours if "refused" in row.figures],
        "canary": _trial(state.canary, seen),
        "test": _trial(state.test, seen),
    }


def _arm(name: str, version: int | None, share: float, rows: list[Row] | None) -> dict[str, Any]:
    total = Counts()
    for one in counts.totals(rows or [], version or 0).values():
        total.add(one)
    return {
        "arm": name,
        "version": version,
        "share": round(share, 6),
        "requests": None if rows is None else total.requests,
        "failed": None if rows is None else total.failed,
        "p50_ms": _ms(total.quantile_s(0.5)),
        "p95_ms": _ms(total.quantile_s(0.95)),
    }


def _shadow(version: int, rows: list[Row]) -> dict[str, Any]:
    compared = Compared()
    for row in rows:
        if row.version == version and "shadow" in row.figures:
            compared.add(dict(row.figures["shadow"]))
    return {"shadow": version, **{name: _short(value) for name, value in compared.told().items()}}


def _refusal(row: Row) -> dict[str, Any]:
    return {"server": row.server.partition(":")[0], "version": row.version, "refused": row.figures["refused"]}


def _trial(one: Any, seen: Seen) -> dict[str, Any] | None:
    """`reason` is what follows now where it runs, else why it ended."""
    if one is None:
        return None
    found: dict[str, Any] = one.model_dump(mode="json")
    if one.share and not seen.standing.split:
        found["status"], found["reason"] = "void", "Another version became champion."
    elif one.status == "running" and seen.verdict is not None:
        found["reason"] = seen.verdict.reason
    return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else _short(seconds * 1000)


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
