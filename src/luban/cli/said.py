"""What commands say: an error with what to do, and JSON objects. Light: it brings the standard library alone."""

from __future__ import annotations

import json
import sys

from luban.errors import LubanError


def complain(error: LubanError) -> None:
    """Say an error on standard error: what, then what to do; as JSON where --json was asked."""
    if "--json" in sys.argv:
        body = {"error": type(error).__name__, "message": error.message, "todo": error.hint}
        print(json.dumps(body, ensure_ascii=False), file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(error.message))
    if error.hint:
        console.print(Text("   do: ", style="bold cyan") + Text(error.hint))


def emit(value: object) -> None:
    """One JSON object on a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")
    sys.stdout.flush()
