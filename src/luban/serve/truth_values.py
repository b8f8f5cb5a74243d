"""Reading a truth as people say it: the target's own row steps and column type, as in training.

Knows no task and no column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.catalog import FEATURES, STEPS
from luban.errors import BadValue

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle


def read_truth(bundle: Bundle, raw: Any) -> Any:
    """A truth as the target's column keeps it. Raises BadValue where it is missing or cannot be read."""
    target = bundle.schema.target
    if target is None:
        raise BadValue("this model has no target")
    value = raw
    for spec in bundle.manifest.row_steps:
        if target.name in spec.columns and value is not None:
            value = STEPS.make(spec.kind, spec.config).value(value)
    feature = FEATURES.make(target.type, target.settings)
    value = None if value is None else feature.parse_value(value)
    if value is None and not feature.missing_is_value:
        raise BadValue("is missing")
    return value


def strange(bundle: Bundle, truth: Any) -> str:
    """What should be said of a truth that was read: classes that the model does not know, or ""."""
    classes = bundle.manifest.task.decoding.get("classes")
    if not classes:
        return ""
    known = {str(name) for name in classes}
    new = [str(one) for one in (truth if isinstance(truth, (list, tuple)) else [truth]) if str(one) not in known]
    return f"the model does not know {', '.join(f'`{name[:80]}`' for name in new)}" if new else ""
