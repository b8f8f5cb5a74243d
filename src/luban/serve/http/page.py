"""The page for a person who opens the server's address in a browser: what this is and how to ask it.

One template, no script, nothing loaded from elsewhere; in the language of the browser, with a link to the other one.
What comes from the bundle or the request is escaped, for HTML by the template and for the shell in the command.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
import orjson

from luban.serve.http.page_words import NAMES, WORDS, Language

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
_MOST_COLUMNS = 20
"""Columns of an answer that are shown; probabilities of a hundred classes help nobody here."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def headers(language: Language) -> dict[str, str]:
    """What goes with the page: nothing may be loaded, run or framed."""
    return {"content-security-policy": _POLICY, "content-language": language, "vary": "Accept-Language"}


@cache
def _template() -> jinja2.Template:
    text = files("luban.serve.http").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


@dataclass(frozen=True)
class Asked:
    """Who asks for the page, and how: `host` is the request's Host header; `is_locked` hides all about the model."""

    host: str
    language: Language = "en"
    needs_key: bool = False
    is_locked: bool = False
    scheme: str = "http"

    @property
    def address(self) -> str:
        """The server's address, as this person reaches it."""
        return f"{self.scheme}://{self.host if _HOST.fullmatch(self.host) else '127.0.0.1:8000'}"


def page(served: Served | None, reason: str, asked: Asked) -> bytes:
    """The page as HTML in UTF-8; `reason` is why there is no model."""
    language = asked.language
    others = [(code, name) for code, name in NAMES.items() if code != language]
    common = {"t": WORDS[language], "language": language, "others": others, "asked": asked}
    if asked.is_locked or served is None:
        return _template().render(name="", reason=reason, **common).encode()
    rows = served.bundle.example_rows()[:1]
    answers = served.bundle.columns
    rendered = _template().render(
        name=served.name,
        version=served.version,
        identity=served.bundle.identity,
        since=served.since.strftime("%Y-%m-%d %H:%M"),
        purpose=served.bundle.manifest.purpose,
        curl=_curl(asked, rows),
        answer=orjson.dumps({"answers": served.bundle.predict(rows).rows()}, option=_PRETTY).decode() if rows else "",
        inputs=[(column.name, _type(column.type, language)) for column in served.bundle.schema.inputs],
        answers=[(name, WORDS[language].get(kind, kind)) for name, kind in list(answers.items())[:_MOST_COLUMNS]],
        num_more=max(len(answers) - _MOST_COLUMNS, 0),
        **common,
    )
    return rendered.encode()


def _curl(asked: Asked, rows: list[dict[str, object]]) -> str:
    body = shlex.quote(orjson.dumps({"rows": rows or [{}]}).decode())
    key = ' \\\n  -H "Authorization: Bearer $LUBAN_API_KEY"' if asked.needs_key else ""
    return f"curl {asked.address}/v1/predict{key} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


def _type(name: str, language: Language) -> str:
    """A column's type in the words of the reports; a plug-in's type stands for itself."""
    from luban.evaluate.page.words import SECTIONS

    return SECTIONS[language].get(f"type_{name}", name)
