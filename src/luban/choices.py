"""How a project file names an entry of a catalog: read in two phases, and described as a JSON Schema.

Decided here: first the kind, then the settings with that kind's own `Config`, so that what composes a project file
knows no component; the schema of a field holds those of all kinds that can be loaded. Knows no catalog by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from luban.catalog import Catalog, Choice
from luban.errors import UnknownName


class OneOf:
    """Annotation of a config field that names one entry of a catalog, read in two phases.

    Takes `name`, or `{kind: name, ...settings}`, or a `Choice`; gives a `Choice`.
    """

    def __init__(self, catalog: Catalog[Any]) -> None:
        self.catalog = catalog

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        known = self.catalog.names()
        options: list[JsonSchemaValue] = [{"enum": known, "description": f"the name of a {self.catalog.what}"}]
        for name in self.catalog.usable():
            body = inlined(self.catalog.resolve(name).Config.model_json_schema())
            body["properties"] = {"kind": {"const": name}, **body.get("properties", {})}
            body["required"] = ["kind", *body.get("required", [])]
            options.append(body)
        return {"anyOf": options}

    def read(self, value: Any) -> Choice:
        """The choice that `value` states; raises ValueError with a sentence for the user."""
        if isinstance(value, Choice):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
            raise ValueError(
                f"must name a {self.catalog.what}: one of {', '.join(self.catalog.names())}, "
                f"alone or as `kind:` beside its settings"
            )
        settings = dict(value)
        kind = settings.pop("kind")
        try:
            cls = self.catalog.resolve(kind)
        except UnknownName as error:
            raise ValueError(str(error).replace("\n", " ")) from error
        return Choice(kind, cls.Config.model_validate(settings))

    @staticmethod
    def write(choice: Choice) -> dict[str, Any]:
        """JSON form of a choice; reads back to the same choice."""
        return {"kind": choice.kind, **choice.config.model_dump(mode="json")}


def auto_or_list(value: Any) -> str:
    """Which form a field takes that is `auto` or a list: a discriminator, so that errors name one form."""
    return "auto" if isinstance(value, str) else "list"


def inlined(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A JSON Schema whose references are replaced by what they refer to."""
    definitions = schema.pop("$defs", {})

    def follow(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                beside = {key: entry for key, entry in value.items() if key != "$ref"}
                return {**follow(definitions[value["$ref"].rsplit("/", 1)[1]]), **beside}
            return {key: follow(entry) for key, entry in value.items()}
        return [follow(entry) for entry in value] if isinstance(value, list) else value

    found: JsonSchemaValue = follow(schema)
    return found
