"""A luban.yaml from a look at data: columns with what they were taken for and why, a target, and what was seen.

What was inferred is written out with its reason as a comment, so that the user sees it and can change
it; the file then says all that decides the run. Where nothing is likely to be predicted, the file has no target: the
data can be prepared, and the comment says what is missing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from luban.data.infer import Conclusion
from luban.look.look import Seen
from luban.look.words import PHRASES, Language, in_words
from luban.policy.rules import Actor

HEAD: dict[Language, str] = {
    "en": """\
# Written by `luban init` from a look at {rows} rows of {source}. Everything here can be changed;
# what is left out has a default (`luban schema` prints them all).
{seen}
name: {name}
owner: {owner}                    # who answers for this model: a gate asks for it
purpose: {purpose}
{language}
data:
  source: {path}
  columns:
{columns}
{target}

# prepare:
#   split: {{by: stratified, valid: 0.1, test: 0.2}}   # or random, group, subject, time
train:
  models: auto                    # every family and a vote of the best; or a list: [linear, trees, vote]
  time_budget_s: 120              # no model is started after this
# budget: {{p95_ms: 10, size_mb: 20}}                  # gates: one row in process; the whole bundle
release: {{promote: significant}}   # the first release is champion, later ones must beat it
""",
    "zh": """\
# 由 `luban init` 查看 {source} 的 {rows} 行后写成。这里的一切都可以改；
# 没有写出的都有默认值（`luban schema` 可列出全部）。
{seen}
name: {name}
owner: {owner}                    # 由谁负责：发布时会问
purpose: {purpose}
{language}
data:
  source: {path}
  columns:
{columns}
{target}

# prepare:
#   split: {{by: stratified, valid: 0.1, test: 0.2}}   # 或 random、group、subject、time
train:
  models: auto                    # 尝试各类模型并组合最好的几个；或列出：[linear, trees, vote]
  time_budget_s: 120              # 超过这个时间（秒）就不再开始新的模型
# budget: {{p95_ms: 10, size_mb: 20}}                  # 关卡：单行耗时；整个包的大小
release: {{promote: significant}}   # 第一次发布即上线，之后要更好才替换
""",
}
PURPOSE: dict[Language, tuple[str, str]] = {
    "en": ("Predict {target} from {file}.", ""),
    "zh": ("由 {file} 预测 {target}。", ""),
}


def project_text(folder: Path, data: str, seen: Seen, name: str, language: Language = "en") -> str:
    """The project file for `data` (as a person types it, relative to the current folder)."""
    of_target, without = PURPOSE[language]
    purpose = without if seen.target is None else of_target.format(target=seen.target, file=Path(data).name)
    return HEAD[language].format(
        rows=f"{seen.rows:,}",
        source=data,
        seen=_seen(seen, language),
        name=name,
        owner=_scalar(Actor.current().name),
        purpose=_scalar(purpose),
        language="language: zh\n" if language == "zh" else "",
        path=_scalar(_relative(folder, data)),
        columns="\n".join(_line(conclusion, seen, language) for conclusion in seen.conclusions),
        target=_target(seen, language),
    )


def _seen(seen: Seen, language: Language) -> str:
    """Findings as comments."""
    if not seen.findings:
        return ""
    lines = [f"#   {'!' if one.level == 'warn' else '-'} {one.sentence(language)}" for one in seen.findings]
    return "\n".join(["#", f"# {PHRASES[language]['seen']}", *lines, ""])


def _target(seen: Seen, language: Language) -> str:
    if seen.target is not None:
        return f"  target: {_scalar(seen.target)}"
    words = PHRASES[language]
    names = words["comma"].join(one.name for one in seen.others)
    said = [words["maybe"].format(names=names)] if seen.others else [words["none"], words["label"]]
    example = _scalar(seen.others[0].name) if seen.others else ""
    return "\n".join([*(f"  # {line}" for line in (*said, words["until"])), f"  # target: {example}".rstrip()])


def _relative(folder: Path, data: str) -> str:
    if "://" in data:
        return data
    return os.path.relpath(Path(data).absolute(), folder.absolute())


def _line(conclusion: Conclusion, seen: Seen, language: Language) -> str:
    column = conclusion.column
    role: str = "target" if column.name == seen.target else column.role
    reason = in_words("why", conclusion.reason, language)
    if column.name in seen.apart:
        role, reason = "meta", seen.apart[column.name].brief(language)
    about: Any = {"type": column.type, **({} if role in ("input", "target") else {"role": role}), **column.settings}
    about = column.type if list(about) == ["type"] else about
    entry = f"    {_scalar(column.name)}: {_flow(about)}"
    return f"{entry:<33} # {reason}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1000)
    return text.split("\n")[0]


def _scalar(text: str) -> str:
    """`text` as a YAML scalar on one line, quoted where it must be."""
    return yaml.safe_dump(text, allow_unicode=True, width=100_000).removesuffix("...\n").strip()
