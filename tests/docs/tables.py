"""The tables of the guide: every setting, command and option, written from the code.

    python tests/docs/tables.py        fill in all tables of docs/guide

A page says where a table belongs by two comments; what stands between them is replaced:

    <!-- settings: train -->  …  <!-- end -->        fields of a Config
    <!-- command: models promote -->  …  <!-- end --> arguments and options of a command
    <!-- figures: all -->  …  <!-- end -->           figures of a server

The tests compare; they never write. What a table has no words for stands in the page around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from luban.catalog import CATALOGS, TASKS, Choice, Config
from luban.cli.main import app
from luban.project import Project
from luban.serve.watch.figures import FIGURES
from luban.train.tune.space import searched

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
BLOCK = re.compile(r"(<!-- (settings|command|figures): ([^\n]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_LONGEST = 90
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def configs() -> dict[str, type[Config]]:
    """Every Config that a user can write, by the name of its table; each class once."""
    found: dict[str, type[Config]] = {}
    for name, cls in _all():
        if cls.model_fields and cls not in found.values():
            found[name] = cls
    return found


def _all() -> Iterator[tuple[str, type[Config]]]:
    yield from _below("project", Project)
    for catalog in CATALOGS:
        for entry in catalog.own():
            yield from _below(f"{catalog.table.lower()}/{entry}", catalog.resolve(entry).Config)
    for entry in TASKS.own():
        yield f"tasks/{entry} options", TASKS.resolve(entry).Options


def _below(name: str, cls: type[Config]) -> Iterator[tuple[str, type[Config]]]:
    yield name, cls
    prefix = "" if name == "project" else f"{name}."
    for field, info in cls.model_fields.items():
        for inner in _configs_in(info.annotation):
            yield from _below(f"{prefix}{field}", inner)


def _configs_in(annotation: Any) -> Iterator[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _configs_in(part)


def settings_table(cls: type[Config]) -> str:
    """The fields of a Config as a Markdown table."""
    properties = cls.model_json_schema().get("properties", {})
    lines = ["| setting | allowed | default | what it does |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        about = " ".join((field.description or _of_section(field)).split())
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("execution"):
            about += " Does not change the result."
        about += _searched(field)
        cells = [f"`{name}`", _allowed(properties.get(name, {})), _default(field), about]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _searched(field: FieldInfo) -> str:
    """Where tuning looks if nobody says."""
    found = searched("", field)
    if found is None:
        return ""
    if found.choices:
        return " Searched."
    ends = f"{found.low:g} to {found.high:g}"
    return f" Searched from {ends}{', by orders of magnitude' if found.log else ''}."


def _of_section(field: FieldInfo) -> str:
    """What a section without a sentence of its own is: the sentence of its Config."""
    return next((inner.__doc__ or "" for inner in _configs_in(field.annotation)), "")


def _allowed(schema: dict[str, Any]) -> str:
    options = [o for o in schema.get("anyOf", [schema]) if o.get("type") != "null"]
    return " or ".join(dict.fromkeys(filter(None, map(_one, options))))


def _one(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        # plug-ins that happen to be installed are not the guide's to describe
        return ", ".join(f"`{value}`" for value in schema["enum"] if ":" not in str(value))
    if "properties" in schema and "const" in schema["properties"].get("kind", {}):
        return "`kind` with settings" if ":" not in schema["properties"]["kind"]["const"] else ""
    if "$ref" in schema or "properties" in schema:
        return "settings"
    kind = {"array": "list", "object": "mapping", "boolean": "`true`, `false`", "string": "text"}.get(
        schema.get("type", ""), schema.get("type", "")
    )
    bounds = [f"{sign} {schema[key]:,}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "—"
    if isinstance(value, BaseModel):
        return "its defaults"
    value = value.kind if isinstance(value, Choice) else value
    if isinstance(value, (tuple, list)):
        value = [one.kind if isinstance(one, Choice) else _plain(one) for one in value]
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else value


def figures_table() -> str:
    """All figures of a server as a Markdown table."""
    lines = ["| figure | kind | labels | what it is |", "|---|---|---|---|"]
    for name, figure in FIGURES.items():
        labels = ", ".join(f"`{label}`" for label in figure.labels)
        lines.append(f"| `{name}` | {figure.kind} | {labels} | {figure.help} |")
    return "\n".join(lines) + "\n"


def commands() -> dict[str, Any]:
    """Every command by its words, groups left out."""
    found: dict[str, Any] = {}

    def walk(words: tuple[str, ...], command: Any) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk((*words, name), inner)
        else:
            found[" ".join(words)] = command

    walk((), typer.main.get_command(app))
    return found


def command_table(command: Any) -> str:
    """Arguments and options of a command as a Markdown table."""
    lines = ["| argument or option | default | what it does |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        option = parameter.param_type_name == "option"
        name = ", ".join(f"`{one}`" for one in parameter.opts) if option else f"`{parameter.name.upper()}`"
        default = "required" if parameter.required else _shown(parameter.default)
        cells = [name, default, " ".join((getattr(parameter, "help", "") or "").split())]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n" if command.params else "No arguments, no options.\n"


def _shown(default: Any) -> str:
    return "—" if default is None or default is False or default == "" else f"`{default}`"


def filled(text: str) -> str:
    """A page with its tables as the code has them now."""

    def table(match: re.Match[str]) -> str:
        opening, kind, name, _, closing = match.groups()
        if kind == "figures":
            made = figures_table()
        else:
            made = settings_table(configs()[name]) if kind == "settings" else command_table(commands()[name])
        return f"{opening}\n{made}\n{closing}"

    return BLOCK.sub(table, text)


def main() -> None:
    """Fill in the tables of all pages."""
    for path in sorted(GUIDE.glob("*.md")):
        text = path.read_text("utf-8")
        if (new := filled(text)) != text:
            path.write_text(new, "utf-8")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
