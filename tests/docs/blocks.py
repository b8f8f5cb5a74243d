"""Code blocks of Markdown pages: how they are found, and how each language is run.

    ```console    lines `$ command`, each followed by what it prints; `…` stands for anything
    ```sh         a script; must end with status 0
    ```python     runs in one namespace a page; a ```text block right below is what it prints
    ```json       right below another block: what that one printed; elsewhere it must be JSON
    ```yaml       a project file or a part of one; must be valid

`<!-- not run: reason -->` on the line above leaves a block out. `luban serve` runs until the page ends, on
a free port that replaces 8000 in the page.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from luban.project import read_project
from ports import free_port

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
RUN = ("console", "sh", "python", "json", "yaml")
TIMEOUT_S = 240
_BASE: dict[str, Any] = {"name": "reviews", "data": {"source": "reviews.csv", "target": "verdict"}}


@dataclass(frozen=True)
class Block:
    """One block. `follows`: nothing but white space stands between it and the block before."""

    language: str
    code: str
    line: int
    reason: str | None
    follows: bool


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text("utf-8")
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        follows = bool(found) and not text[end : match.start()].strip()
        found.append(Block(match["language"], match["code"], line, match["reason"], follows))
        end = match.end()
    assert text.count("\n```") + text.startswith("```") == 2 * len(found), f"{page.name}: a fence is not closed"
    return found


class Page:
    """Runs the blocks of one page in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.printed: str | None = None
        self._names: dict[str, Any] = {"__name__": "__guide__"}
        self._servers: list[subprocess.Popen[str]] = []
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "160",
            "NO_COLOR": "1",
        }

    def close(self) -> None:
        """End servers."""
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.wait(30)

    def run(self, block: Block) -> None:
        """Run one block. Raises AssertionError with what was printed where it is not as the page says."""
        code = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        if block.language in ("json", "text") and block.follows and self.printed is not None:
            compare = same_json if block.language == "json" else same_text
            compare(code, self.printed)
            return
        self.printed = None
        if block.language == "console":
            self._console(code)
        elif block.language == "sh":
            self.printed = self._shell(code, status=0)
        elif block.language == "python":
            self._python(code, block)
        elif block.language == "json":
            json.loads(code)
        elif block.language == "yaml":
            read_project(_merged(_BASE, yaml.safe_load(code)), "the block")

    def _console(self, code: str) -> None:
        for command, expected in commands(code):
            if command.startswith("luban serve"):
                self.printed = self._serve(command)
            else:
                self.printed = self._shell(command, 1 if re.search("^error: ", expected, re.MULTILINE) else 0)
            if expected.strip():
                same_text(expected, self.printed)

    def _shell(self, script: str, status: int) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == status, f"`{script}` ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _serve(self, command: str) -> str:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port {self.port}"],  # what it says is shown where a block fails
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._servers.append(server)
        assert server.stdout is not None
        said = server.stdout.readline()
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5):
                return said
            assert server.poll() is None, f"`{command}` ended with {server.returncode}"
            time.sleep(0.1)
        raise AssertionError(f"`{command}` was not ready")

    def _python(self, code: str, block: Block) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.chdir(self.folder):
            exec(compile("\n" * (block.line - 1) + code, "block", "exec"), self._names)
        self.printed = out.getvalue()


def commands(code: str) -> list[tuple[str, str]]:
    """Commands of a console block, each with what it should print; a backslash at the end goes on."""
    found: list[tuple[str, str]] = []
    going_on = False
    for line in code.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif going_on:
            found[-1] = (f"{found[-1][0]}\n{line}", "")
        else:
            assert found, f"a console block begins with `$ `, but got {line!r}"
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        going_on = line.endswith("\\")
    return found


def same_text(expected: str, printed: str) -> None:
    """What was printed is what was expected, white space aside; `…` stands for anything."""
    pieces = [re.escape(" ".join(piece.split())) for piece in expected.split("…")]
    # Where a piece ended in a space that `…` may stand for, it need not be there.
    pattern = r"\s*.*?\s*".join(pieces)
    assert re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL), f"expected\n{expected}\nbut got\n{printed}"


def same_json(expected: str, printed: str) -> None:
    """The same JSON: "…" stands for anything, a fraction for any number; a member "…" allows more members."""
    found = json.loads(printed)
    assert _alike(json.loads(expected), found), f"expected\n{expected}\nbut got\n{json.dumps(found, indent=1)}"


def _alike(expected: Any, found: Any) -> bool:
    if expected == "…":
        return True
    if isinstance(expected, float):
        return isinstance(found, int | float)
    if isinstance(expected, dict):
        more = "…" in expected
        keys = expected.keys() - {"…"}
        return (
            isinstance(found, dict)
            and (keys <= found.keys() if more else keys == found.keys())
            and all(_alike(expected[key], found[key]) for key in keys)
        )
    if isinstance(expected, list):
        more = expected[-1:] == ["…"]
        rest = expected[:-1] if more else expected
        return (
            isinstance(found, list)
            and (len(found) >= len(rest) if more else len(found) == len(rest))
            and all(_alike(a, b) for a, b in zip(rest, found, strict=False))
        )
    return bool(expected == found)


def _merged(base: Any, part: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(part, dict) or "kind" in part:
        return part
    return {**base, **{key: _merged(base.get(key), value) for key, value in part.items()}}
