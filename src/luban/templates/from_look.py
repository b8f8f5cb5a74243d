"""A luban.yaml from a look at data: columns with what they were taken for and why, and a target.

What was inferred is written out with its reason as a comment, so that the user sees it and can change
it; the file then says all that decides the run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from luban.data.infer import Conclusion, Look, look
from luban.data.sources import open_path
from luban.errors import ConfigError
from luban.policy.rules import Actor

HEAD = """\
# Written by `luban init` from a look at {rows} rows of {source}. Everything here can be changed;
# what is left out has a default (`luban schema` prints them all).

name: {name}
owner: {owner}                    # who answers for this model: a gate asks for it
purpose: {purpose}

data:
  source: {path}
  columns:
{columns}
  target: {target}

# prepare:
#   split: {{by: stratified, valid: 0.1, test: 0.2}}   # or random, group, subject, time
train:
  models: auto                    # every family and a vote of the best; or a list: [linear, trees, vote]
  time_budget_s: 120              # no model is started after this
# budget: {{p95_ms: 10, size_mb: 20}}                  # gates: one row in process; the whole bundle
release: {{promote: significant}}   # the first release is champion, later ones must beat it
"""


def project_text(folder: Path, data: str, target: str | None, name: str) -> tuple[str, list[str]]:
    """The project file for `data` (as a person types it, relative to the current folder), and notes.

    Raises ConfigError where no target is named and none is likely, DataError where data cannot be read.
    """
    source = open_path(data)
    seen = look(source, target)
    notes: list[str] = []
    if target is None:
        target, reason = _likely(seen)
        notes.append(f"`{target}` is taken as the target: {reason}. Another: --target COLUMN")
    if target not in seen.schema:
        raise ConfigError(f"There is no column `{target}`.", f"Columns: {_names(seen.conclusions)}.")
    if not seen.complete:
        notes.append(f"only the first {seen.rows:,} rows were looked at")
    text = HEAD.format(
        rows=f"{seen.rows:,}",
        source=data,
        name=name,
        owner=Actor.current().name,
        purpose=_scalar(f"Predict {target} from {Path(data).name}."),
        path=_scalar(_relative(folder, data)),
        columns="\n".join(_line(c, target) for c in look(source, target).conclusions),
        target=_scalar(target),
    )
    return text, notes


def _likely(seen: Look) -> tuple[str, str]:
    if not seen.targets:
        raise ConfigError(
            "No column looks like a target.", f"Name one with --target. Columns: {_names(seen.conclusions)}."
        )
    return seen.targets[0]


def _names(conclusions: Sequence[Conclusion]) -> str:
    return ", ".join(conclusion.column.name for conclusion in conclusions)


def _relative(folder: Path, data: str) -> str:
    if "://" in data:
        return data
    return os.path.relpath(Path(data).absolute(), folder.absolute())


def _line(conclusion: Conclusion, target: str) -> str:
    column = conclusion.column
    role = "target" if column.name == target else column.role
    about: Any = {"type": column.type, **({} if role in ("input", "target") else {"role": role}), **column.settings}
    about = column.type if list(about) == ["type"] else about
    entry = f"    {_scalar(column.name)}: {_flow(about)}"
    return f"{entry:<33} # {conclusion.reason}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1000)
    return text.split("\n")[0]


def _scalar(text: str) -> str:
    """`text` as a YAML scalar on one line, quoted where it must be."""
    return yaml.safe_dump(text, allow_unicode=True, width=100_000).removesuffix("...\n").strip()
