"""What is installed: Luban's own libraries, its extras, and programs that some sources call.

Bounds are those that the package declares. Versions are compared by their numbers alone: a pre-release counts as
its release.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from luban.doctor.finding import Finding

AREA = "installed"
HIDDEN = ("test", "check")
"""Extras for those who work on Luban itself."""
FOR = {
    "train": "linear models, trees, near duplicates, figures of classes: every project trains with it",
    "neural": "neural models and encoders, over PyTorch",
    "tune": "the section `tune`, with samplers `tpe` and `random`",
    "postgres": "a ledger that several machines share",
    "oidc": "bearer tokens of an identity provider",
    "redis": "limits that several servers share",
}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
PROGRAMS = {
    "pip": "sources of `kind: package` from PyPI",
    "npm": "sources of `kind: package` from npm",
    "apt-get": "sources of `kind: package` from Debian",
    "dpkg-deb": "unpacking what comes from Debian",
}
_HOW = {"pip": "python -m ensurepip", "npm": "Install Node.js.", "apt-get": "", "dpkg-deb": "Install dpkg."}


@dataclass(frozen=True)
class Requirement:
    """A library that is asked for: by which extra ("" is Luban itself), and within which bounds."""

    name: str
    bounds: str
    extra: str

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return None

    @property
    def status(self) -> str:
        """ok, warn (another version than is asked for), or missing."""
        found = self.version
        return "missing" if found is None else "ok" if within(found, self.bounds) else "warn"


def requirements(lines: list[str] | None = None) -> list[Requirement]:
    """All that Luban asks for, from its package's metadata; markers other than `extra` count as met."""
    found = []
    for line in lines if lines is not None else importlib.metadata.requires("luban") or []:
        match = _REQUIREMENT.match(line)
        assert match is not None, line
        extra = _EXTRA.search(match[3] or "")
        found.append(Requirement(match[1], match[2].strip(), extra[1] if extra else ""))
    return found


def within(version: str, bounds: str) -> bool:
    """Whether a version meets `>=` and `<` bounds, by its numbers.

    >>> within("1.10.0+cpu", ">=1.6,<2"), within("2.0", ">=1.6,<2"), within("1.5.9", "<2,>=1.6")
    (True, False, False)
    """
    mine = _numbers(version)
    for bound in filter(None, (part.strip() for part in bounds.split(","))):
        sign = bound.rstrip("0123456789.abcrdevpost*+-")
        limit = _numbers(bound[len(sign) :])
        width = max(len(mine), len(limit))
        ours, theirs = (numbers + (0,) * (width - len(numbers)) for numbers in (mine, limit))
        if not {">=": ours >= theirs, "<": ours < theirs, "==": ours == theirs, "!=": ours != theirs}.get(sign, True):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def installed() -> Iterator[Finding]:
    """A line for Luban's own libraries, one for each extra, one for each program."""
    listed = requirements()
    yield _luban([one for one in listed if not one.extra])
    for extra in dict.fromkeys(one.extra for one in listed if one.extra):
        if extra not in HIDDEN:
            yield of_extra(extra)
    yield from map(_program, PROGRAMS)


def _luban(needs: list[Requirement]) -> Finding:
    wrong = [one for one in needs if one.status != "ok" and not (one.status == "missing" and one.name == "uvloop")]
    text = f"{importlib.metadata.version('luban')}, with {len(needs)} libraries"
    if wrong:
        shown = ", ".join(f"{one.name} {one.version or 'missing'} (needs {one.bounds})" for one in wrong)
        return Finding(AREA, "luban", "warn", f"{text}; not as they are asked for: {shown}", _install(""))
    return Finding(AREA, "luban", "ok", text)


def of_extra(extra: str, area: str = AREA, needed: bool = False) -> Finding:
    """Whether an extra's libraries are there, each in a version that is asked for."""
    needs = [one for one in requirements() if one.extra == extra]
    shown = ", ".join(f"{one.name} {one.version or '—'}" for one in needs)
    statuses = {one.status for one in needs}
    if "missing" in statuses:
        text = f"{shown}: for {FOR.get(extra, 'some components')}"
        return Finding(area, f"luban[{extra}]", "missing", text, _install(extra), needed)
    if "warn" in statuses:
        bounds = ", ".join(f"{one.name}{one.bounds}" for one in needs if one.status == "warn")
        return Finding(area, f"luban[{extra}]", "warn", f"{shown}; tried with {bounds}", _install(extra), needed)
    return Finding(area, f"luban[{extra}]", "ok", shown, needed=needed)


def _install(extra: str) -> str:
    return f'pip install "luban[{extra}]"' if extra else "pip install --upgrade luban"


def has_extra(extra: str) -> bool:
    """Whether all libraries of an extra are there."""
    return all(one.version is not None for one in requirements() if one.extra == extra)


def has_program(name: str) -> bool:
    """Whether a program can be called; pip also as a module."""
    return (name == "pip" and importlib.util.find_spec("pip") is not None) or shutil.which(name) is not None


def _program(name: str) -> Finding:
    if has_program(name):
        return Finding("programs", name, "ok", f"for {PROGRAMS[name]}")
    return Finding("programs", name, "missing", f"for {PROGRAMS[name]} alone", _HOW[name])
