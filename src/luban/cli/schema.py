"""`luban schema`: the JSON Schema of luban.yaml, for editors."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(schema)


def schema() -> None:
    """Print the JSON Schema of luban.yaml, with every component that is installed."""
    import json

    from luban.project import Project

    found = Project.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
