"""Reading and judging truths, by the models that are served: the target's own row steps, column type and task.

A model that was given back for want of memory is still known: what is needed here is small. Knows no task and no
column type. May be asked by any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luban.catalog import FEATURES, STEPS
from luban.errors import BadValue
from luban.tasks.base import Judgement, Tolerance

if TYPE_CHECKING:
    from luban.bundle.manifest import Manifest
    from luban.serve.fleet.fleet import Fleet
    from luban.tasks.base import Task

NONE = Judgement(None, None)


@dataclass(frozen=True)
class _Known:
    task: Task
    manifest: Manifest


class Judges:
    """What truths mean, and what they say of answers."""

    def __init__(self, fleet: Fleet, tolerance: Tolerance) -> None:
        self._fleet = fleet
        self._tolerance = tolerance
        self._known: dict[str, _Known] = {}

    def __call__(self, model: str, answer: Mapping[str, Any], truth: Any) -> Judgement:
        """What a truth says of an answer; nothing of a model that was never loaded here."""
        known = self._of(model)
        return NONE if known is None else known.task.judge(answer, truth, self._tolerance)

    def read(self, model: str, raw: Any) -> tuple[Any, str]:
        """A truth as the target's column keeps it, and what should be said of it. Raises BadValue."""
        known = self._of(model)
        if known is None:
            raise BadValue(f"`{model}` is not loaded on this server now")
        value = read_truth(known.manifest, raw)
        return value, strange(known.manifest, value)

    async def ready(self, model: str) -> None:
        """Have a model known, loaded where it is idle. Raises Problem; nothing is done for one that is not served."""
        if model in self._fleet.names() and self._of(model) is None:
            await self._fleet.served(model)

    def _of(self, model: str) -> _Known | None:
        now = self._fleet.live(model).now if model in self._fleet.names() else None
        if now is not None:
            self._known[model] = _Known(now.bundle.task, now.bundle.manifest)
        return self._known.get(model)


def read_truth(manifest: Manifest, raw: Any) -> Any:
    """A truth as people say it, as the target's column keeps it. Raises BadValue where it is missing or unreadable."""
    target = manifest.dataset_schema.target
    if target is None:
        raise BadValue("this model has no target")
    value = raw
    for spec in manifest.row_steps:
        if target.name in spec.columns and value is not None:
            value = STEPS.make(spec.kind, spec.config).value(value)
    value = None if value is None else FEATURES.make(target.type, target.settings).parse_value(value)
    if value is None:
        raise BadValue("is missing")
    return value


def strange(manifest: Manifest, truth: Any) -> str:
    """What should be said of a truth that was read: classes that the model does not know, or ""."""
    classes = manifest.task.decoding.get("classes")
    if not classes:
        return ""
    known = {str(name) for name in classes}
    new = [str(one) for one in (truth if isinstance(truth, (list, tuple)) else [truth]) if str(one) not in known]
    return f"the model does not know {', '.join(f'`{name[:80]}`' for name in new)}" if new else ""
