"""The project file: `luban.yaml`, composed of each component's own config.

Decided here: sections are the verbs beside `data`, `budget` and the facts about the model; a section
that is designed but not built is refused with that reason, never skipped; every error names file, line,
field and, for an unknown key, the nearest known one. State and secrets come from `LUBAN_…` environment
variables (`luban.store.home`, `luban.serve`), never from the file. This module only composes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from luban.catalog import TASKS, Choice, Config, nearest
from luban.choices import OneOf
from luban.compress.config import CompressConfig
from luban.data.config import DataConfig
from luban.deploy.config import DeployConfig
from luban.errors import ConfigError, plain
from luban.evaluate.config import EvaluateConfig
from luban.explain.config import ExplainConfig
from luban.prepare.config import PrepareConfig
from luban.release.config import BudgetConfig, ReleaseConfig
from luban.serve.config import ServeConfig
from luban.train.config import TrainConfig
from luban.train.tune.config import TuneConfig

FILE = "luban.yaml"
RESERVED = {
    "stream": "streams", "monitor": "monitoring",
    "update": "updating", "label": "labelling", "policy": "policy", "track": "tracking",
}  # fmt: skip


class Project(Config):
    """One project: from where data comes to how the model is released and served."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Name of the model: small letters, digits, dots, hyphens."""
    owner: str = ""
    """Who answers for this model; a gate asks for it."""
    purpose: str = ""
    """What the model is for, in a sentence; a gate asks for it."""
    language: Literal["en", "zh"] = "en"
    """Language of reports."""
    seed: int = Field(0, ge=0, lt=2**31)
    """All that is drawn at random is drawn from this."""
    data: DataConfig
    task: Literal["auto"] | Annotated[Choice, OneOf(TASKS)] = "auto"
    """auto: the first task that suits the target; or a task, with its settings."""
    prepare: PrepareConfig = Field(default_factory=PrepareConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    tune: TuneConfig | None = None
    """A search over the settings of one family; its trials are candidates beside those of `train`."""
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    compress: CompressConfig = Field(default_factory=CompressConfig)
    explain: ExplainConfig = Field(default_factory=ExplainConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    release: ReleaseConfig = Field(default_factory=ReleaseConfig)
    serve: ServeConfig = Field(default_factory=ServeConfig)
    deploy: DeployConfig = Field(default_factory=DeployConfig)


PREFIX = "LUBAN__"


def settings_from(environment: Mapping[str, str]) -> list[str]:
    """Overrides that stand in environment variables: `LUBAN__SERVE__PORT=8080` is `serve.port=8080`.

    >>> settings_from({"LUBAN__SERVE__PORT": "8080", "HOME": "/root"})
    ['serve.port=8080']
    """
    found = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    return [f"{name.replace('__', '.').lower()}={value}" for name, value in sorted(found.items())]


def load_project(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Project, Path]:
    """The project in `path` (a file, or the folder that holds luban.yaml), and its folder.

    `overrides` are `section.field=value`, the value read as YAML; they come after those that stand in
    environment variables (`settings_from`). Raises ConfigError.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise ConfigError(f"There is no `{file}`.", "Run `luban init` to write one, or name it with --project.")
    text = _text(file)
    node = _compose(text, file)
    raw = _plain(node, file)
    for override in [*settings_from(os.environ), *overrides]:
        _override(raw, override)
    named = {one.partition("=")[0]: _variable(one) for one in settings_from(os.environ)}
    for override in overrides:
        named.pop(override.partition("=")[0].strip(), None)
    return read_project(raw, file.name, node, named), file.resolve().parent


def server_settings(overrides: Sequence[str] = ()) -> ServeConfig:
    """Settings of a server without a project file: `serve.…` in environment variables, then in `overrides`.

    Raises ConfigError.
    """
    raw: dict[str, Any] = {}
    for override in [*settings_from(os.environ), *overrides]:
        _override(raw, override)
    nothing = {"name": "none", "data": {"source": "none"}}
    return read_project({**nothing, "serve": raw.get("serve", {})}, "The settings").serve


def _variable(override: str) -> str:
    return f"The environment variable {PREFIX}{override.partition('=')[0].upper().replace('.', '__')}"


def read_project(
    raw: Mapping[str, Any], where: str, node: yaml.Node | None = None, named: Mapping[str, str] | None = None
) -> Project:
    """The project stated by `raw`; errors name `where` and, with the YAML node, the line.

    `named` are fields that were set from elsewhere, with the name of that.
    """
    for section, what in RESERVED.items():
        if section in raw:
            line = _line(node, (section,))
            raise ConfigError(
                f"{where}{line}: the section `{section}` is reserved: {what} is not built in this version.",
                "Remove the section.",
            )
    try:
        return _in_its_language(Project.model_validate(raw))
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(item, where, node, named or {}) for item in error.errors())) from None


def _in_its_language(project: Project) -> Project:
    """With reasons in the project's language, where their own is not set."""
    serve, explain = project.serve, project.serve.explain
    if project.language == explain.language or "language" in explain.model_fields_set:
        return project
    explain = explain.model_copy(update={"language": project.language})
    return project.model_copy(update={"serve": serve.model_copy(update={"explain": explain})})


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} must be UTF-8, but byte {error.start} is not.", "Save it as UTF-8.") from None


def _compose(text: str, file: Path) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file.name}{line} is not YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file.name} must be a mapping of sections, such as `name:` and `data:`.")
    _no_twins(node, file.name)
    return node


def _no_twins(node: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{where}, line {key.start_mark.line + 1}: `{key.value}` stands twice.", "Keep one.")
            seen.add(key.value)
            _no_twins(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _no_twins(value, where)


def _plain(node: yaml.Node, file: Path) -> dict[str, Any]:
    loader = yaml.SafeLoader("")
    try:
        raw: dict[str, Any] = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file.name} cannot be read: {getattr(error, 'problem', error)}.") from None
    finally:
        loader.dispose()
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set must be `section.field=value`, but got `{override}`.")
    target = raw
    for key in keys[:-1]:
        inner = target.get(key)
        if inner is None:
            inner = target[key] = {}
        elif isinstance(inner, str):
            inner = target[key] = {"kind": inner}
        elif not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: `{key}` is not a section.")
        target = inner
    try:
        target[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {getattr(error, 'problem', error)}.") from None


def _sentence(item: ErrorDetails, where: str, node: yaml.Node | None, named: Mapping[str, str]) -> str:
    path = tuple(part for part in item["loc"] if not _is_tag(part))
    field = ".".join(str(part) for part in path)
    where, line = (named[field], "") if field in named else (where, _line(node, path))
    if item["type"] == "extra_forbidden":
        close = nearest(str(path[-1]), _known(path[:-1]))
        hint = f" Did you mean `{close}`?" if close else ""
        return f"{where}{line}: there is no field `{field}`.{hint}"
    if item["type"] == "missing":
        return f"{where}{line}: `{field}` is required."
    message = plain(item["type"], item["msg"])
    given = item.get("input")
    shown = repr(given) if isinstance(given, (str, int, float, bool, type(None))) else type(given).__name__
    hint = " Write it in quotes." if item["type"] == "string_type" and isinstance(given, (int, float)) else ""
    if item["loc"][-1] == "auto" and item["type"] == "literal_error":
        hint = f" For a list write [{given}]."
    return f"{where}{line}: `{field}` is refused: {message}, but got {shown}.{hint}"


def _is_tag(part: str | int) -> bool:
    # Pydantic names the branch of a union in the location; no key of a project file looks like that.
    marks = ("[", "function-", "constrained-")
    return part in ("auto", "list", "named") or (isinstance(part, str) and any(mark in part for mark in marks))


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> str:
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return f", line {line}" if line else ""


def _known(path: Sequence[str | int]) -> list[str]:
    schema = Project.model_json_schema()
    found: list[dict[str, Any]] = [schema]
    for part in path:
        found = [_deref(schema, option) for one in found for option in _step(schema, one, part)]
    return sorted({key for one in found for key in one.get("properties", {})} | set(() if path else RESERVED))


def _deref(schema: dict[str, Any], option: dict[str, Any]) -> dict[str, Any]:
    name = option.get("$ref")
    return schema["$defs"][name.rsplit("/", 1)[1]] if name else option


def _step(schema: dict[str, Any], one: dict[str, Any], part: str | int) -> list[dict[str, Any]]:
    one = _deref(schema, one)
    inner = one.get("items") if isinstance(part, int) else one.get("properties", {}).get(part)
    if inner is None:
        return []
    inner = _deref(schema, inner)
    return [_deref(schema, option) for option in inner.get("anyOf", inner.get("allOf", [inner]))]
