"""The `data` section of a project file: where rows come from, and what their columns are.

    data:
      source: reviews.csv                   # a path or glob alone means `{kind: files, path: …}`
      columns: {text: text, price: {type: number, role: meta}}
      target: label

Decided here: columns that are not named are inferred; a column is left out of learning by
`role: meta`. Settings of a column stand beside its type and are checked by that type's own Config. Does
not know any column type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from luban.catalog import FEATURES, SOURCES, Choice, Config
from luban.choices import OneOf, inlined
from luban.data.schema import Role
from luban.errors import UnknownName


class ColumnConfig(Config):
    """What is stated of one column; whatever is not stated is inferred."""

    type: str | None = None
    """Name of a column type: text, category, number, time, tags, image or a plug-in's."""
    role: Role | None = None
    """What the column is for; input where nothing else is known."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the type; in a project file they stand beside `type`."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if value is None:
            return {}
        if isinstance(value, str):
            return {"type": value}
        if not isinstance(value, Mapping):
            return value
        own = {key: value[key] for key in ("type", "role") if key in value}
        beside = {key: entry for key, entry in value.items() if key not in ("type", "role", "settings")}
        return {**own, "settings": {**value.get("settings", {}), **beside}}

    @model_validator(mode="after")
    def _settings_fit(self) -> ColumnConfig:
        if self.type is None:
            if self.settings:
                raise ValueError(f"`{next(iter(self.settings))}` is a setting of a column type: give `type` too")
            return self
        try:
            kind = FEATURES.resolve(self.type)
        except UnknownName as error:
            raise ValueError(str(error).replace("\n", " ")) from error
        kind.Config.model_validate(self.settings)
        return self


class _AsWritten:
    """The JSON Schema of a column as a project file has it: settings beside the type, or the type alone."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        role = found["properties"]["role"]
        alone = {"type": "object", "properties": {"role": role}, "additionalProperties": False}
        options: list[JsonSchemaValue] = [{"enum": FEATURES.names(), "description": "the name of a column type"}, alone]
        for name in FEATURES.usable():
            body = inlined(FEATURES.resolve(name).Config.model_json_schema())
            body["properties"] = {"type": {"const": name}, "role": role, **body.get("properties", {})}
            body["required"] = ["type", *body.get("required", [])]
            options.append(body)
        return {"anyOf": options, "description": found["description"]}


class _Path:
    """A path alone stands for the source `files`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        path: JsonSchemaValue = {"type": "string", "description": "a path or glob"}
        return {"anyOf": [path, *(option for option in handler(schema)["anyOf"] if "enum" not in option)]}

    @staticmethod
    def read(value: Any) -> Any:
        """A source with its settings."""
        return {"kind": "files", "path": value} if isinstance(value, str) else value


class DataConfig(Config):
    """Where rows come from, what their columns are, what is to be predicted."""

    source: Annotated[Choice, OneOf(SOURCES), _Path()]
    """A path or glob, or `kind` of a source with its settings."""
    columns: dict[str, Annotated[ColumnConfig, _AsWritten()]] = Field(default_factory=dict)
    """Column name to its type, or to `type`, `role` and settings of that type; the others are inferred."""
    target: str | None = None
    """The column that is predicted."""
    id: str | None = None
    """The column that names a row."""
    subject: str | None = None
    """The column that names the person whom a row is about."""
    group: str | None = None
    """The column of rows that belong together."""
    time: str | None = None
    """The column that says when a row was so."""
    weight: str | None = None
    """Reserved: the column that says how much a row counts. Not built yet; refused if set."""

    def stated(self) -> dict[str, Role]:
        """Roles that are stated, by column name. Raises nothing: `_roles_agree` has checked them."""
        roles: dict[str, Role] = {name: column.role for name, column in self.columns.items() if column.role}
        for role in _SHORT:
            name = getattr(self, role)
            if name is not None:
                roles[name] = role
        return roles

    @model_validator(mode="after")
    def _roles_agree(self) -> DataConfig:
        if "weight" in self.stated().values():
            raise ValueError("the role `weight` is reserved: no model uses weights in this version. Take it out")
        taken: dict[str, str] = {}
        for role in _SHORT:
            name = getattr(self, role)
            if name is None:
                continue
            stated = self.columns[name].role if name in self.columns else None
            if taken.setdefault(name, role) != role or stated not in (None, role):
                raise ValueError(f"column `{name}` must have one role, but has `{role}` and `{stated or taken[name]}`")
        for role in _SHORT:
            named = sorted(name for name, has in self.stated().items() if has == role)
            if len(named) > 1:
                raise ValueError(f"one column must have the role `{role}`, but these have it: {', '.join(named)}")
        return self


_SHORT: tuple[Role, ...] = ("target", "id", "subject", "group", "time", "weight")
