"""Templates of files to deploy, and how they are filled in.

`render("container/Dockerfile", plan, {...})` fills in `container/Dockerfile.j2` of this folder. A name that a template
does not get is an error. Knows no target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from luban.deploy.base import Deployment


def header(kind: str, plan: Deployment, comment: str = "#") -> str:
    """The lines that every text begins with: how it was made, and what becomes of changes."""
    return (
        f"{comment} Written by `luban deploy {kind}`, Luban {plan.luban}, for the model {plan.name}.\n"
        f"{comment} Change luban.yaml and run it again; a file that was changed by hand is kept until --force."
    )


def host_comment(plan: Deployment, comment: str = "#") -> str:
    """Lines that say that no host is set, each after a line's end; "" where one is."""
    if not plan.is_local:
        return ""
    return (
        f"\n{comment} NOTE: `deploy.host` is not set, so this stands for localhost; clients elsewhere refuse it."
        f"\n{comment} Set it to the name that they use, such as models.example.org, and write this again."
    )


def render(template: str, kind: str, plan: Deployment, values: Mapping[str, Any] | None = None) -> str:
    """A template's text, given `plan`, `header` and `values`."""
    given = {"plan": plan, "header": header(kind, plan), "host_comment": host_comment(plan), **(values or {})}
    return _environment().get_template(f"{template}.j2").render(given)


def quoted(value: object) -> str:
    """A text in double quotes, as YAML, JSON and Dockerfiles read it; dollars are left alone."""
    return json.dumps(str(value), ensure_ascii=False)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("luban.deploy", "templates"),
        autoescape=False,  # the texts are no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = quoted
    environment.filters["dollars_escaped"] = lambda value: str(value).replace("$", "\\$")
    environment.filters["dollars_doubled"] = lambda value: str(value).replace("$", "$$")
    return environment
