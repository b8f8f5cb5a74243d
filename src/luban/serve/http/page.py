"""The page for a person who opens the server's address in a browser: what this is and how to ask it.

One template, no script, nothing loaded from elsewhere. What comes from the bundle or the request is
escaped, for HTML by the template and for the shell in the command that is shown.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
import orjson

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}


@cache
def _template() -> jinja2.Template:
    text = files("luban.serve.http").joinpath("page.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)


def page(served: Served | None, reason: str, host: str, needs_key: bool, locked: bool, scheme: str = "http") -> bytes:
    """The page as HTML in UTF-8.

    `host` is the request's Host header; `locked` hides everything about the model.
    """
    address = f"{scheme}://{host if _HOST.fullmatch(host) else '127.0.0.1:8000'}"
    if locked or served is None:
        return _template().render(locked=locked, name="", reason=reason, address=address).encode()
    rows = served.bundle.example_rows()[:1]
    asked = shlex.quote(orjson.dumps({"rows": rows or [{}]}).decode())
    key = ' -H "Authorization: Bearer $LUBAN_API_KEY"' if needs_key else ""
    curl = f"curl {address}/v1/predict{key} \\\n  -H 'Content-Type: application/json' \\\n  -d {asked}"
    answer = orjson.dumps(served.bundle.predict(rows).rows(), option=_PRETTY).decode() if rows else ""
    rendered = _template().render(
        locked=False,
        name=served.name,
        version=served.version,
        identity=served.bundle.identity,
        since=served.since.isoformat(" ", "seconds"),
        purpose=served.bundle.manifest.purpose,
        curl=curl,
        answer=answer,
        inputs=served.bundle.schema.inputs,
        answers=served.bundle.columns,
    )
    return rendered.encode()
