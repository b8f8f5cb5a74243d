"""Which versions of libraries servers are installed with: those of this machine, where the gates were passed.

Walks what `luban` requires, as the installed packages state it. Libraries that only other platforms need do
not matter: a constraint on what is not installed changes nothing. Knows no target.
"""

from __future__ import annotations

import importlib.metadata
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_WITH = re.compile(r"\[([^\]]*)\]")


def pins(extras: tuple[str, ...] = (), packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Installed versions by name, of all that `luban` with these extras and other packages need, itself left out.

    A package that is not installed here has no pin: the index says which version it is.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("luban", extra) for extra in ("", *extras)]
    waiting += [one for package in packages for one in _wanted(package, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name != "luban":
            found[name] = distribution.version
        for requirement in distribution.requires or []:
            waiting += _wanted(requirement, extra)
    return dict(sorted(found.items()))


def own_wheel(version: str) -> str:
    """File name of Luban's wheel, where this one came from a folder, a file or a repository; "" from an index.

    PEP 610: pip leaves `direct_url.json` beside what it did not take from an index.
    """
    found = importlib.metadata.distributions(name="luban")
    return f"luban-{version}-py3-none-any.whl" if any(one.read_text("direct_url.json") for one in found) else ""


def _wanted(requirement: str, extra: str) -> list[tuple[str, str]]:
    """Name and extras of a requirement; none if it belongs to another extra than `extra`."""
    what, _, marker = requirement.partition(";")
    named = _NAME.match(what.strip())
    if named is None or (_EXTRA.search(marker) and extra not in _EXTRA.findall(marker)):
        return []
    name = re.sub(r"[-_.]+", "-", named.group()).lower()
    inner = _WITH.search(what)
    return [(name, one.strip()) for one in ["", *(inner.group(1).split(",") if inner else [])]]
