"""`luban models`: the registry of released versions and aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from luban.cli.options import AsJson, ProjectPath, open_workshop
from luban.errors import ConfigError

app = typer.Typer(
    help="Released versions: list, show, promote, roll back, compare.", no_args_is_help=True, rich_markup_mode=None
)
HERE = Path()
Which = Annotated[str, typer.Argument(help="A version's number or an alias.")]


@app.command("list")
def list_versions(project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Versions of the project's model, newest first, with their aliases."""
    from luban.cli.said import emit
    from luban.cli.show import table

    shop = open_workshop(project, None)
    rows = [_row(version) for version in shop.registry.versions(shop.project.name)]
    if as_json:
        emit({"model": shop.project.name, "versions": rows})
    elif not rows:
        typer.echo(f"No version of {shop.project.name} is released yet. Run `luban run`.")
    else:
        table(rows)


@app.command()
def show(which: Which = "champion", project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """A version's report in the terminal."""
    from luban.cli.show import show_version

    shop = open_workshop(project, None)
    show_version(shop, shop.registry.resolve(shop.project.name, which), as_json)


@app.command()
def report(
    to: Annotated[Path, typer.Argument(help="A file that is not there yet: .html or .md.")],
    which: Annotated[str, typer.Option("--version", help="A version's number or an alias.")] = "champion",
    language: Annotated[
        Literal["en", "zh"] | None, typer.Option("--language", help="Left out: the one it was released in.")
    ] = None,
    with_rows: Annotated[bool, typer.Option("--with-rows", help="With rows to read: as personal as the data.")] = False,
    project: ProjectPath = HERE,
) -> None:
    """Write a version's report anew: in the words of this Luban, or in another language."""
    from luban.release.reports import rendered

    shop = open_workshop(project, None)
    version = shop.registry.resolve(shop.project.name, which)
    page = rendered(shop.home.store.fetch(version.tree) / "reports", to.suffix, language, with_rows)
    try:
        with to.open("xb") as file:
            file.write(page)
    except FileExistsError:
        raise ConfigError(f"`{to}` is there already.", "Name another file, or remove it first.") from None
    typer.echo(f"Wrote the report of version {version.number} to {to}.")


@app.command()
def promote(which: Which, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Make a version the champion. Servers pick it up without a restart."""
    shop = open_workshop(project, None)
    version = shop.registry.resolve(shop.project.name, which)
    shop.registry.promote(shop.project.name, version.number, shop.actor)
    _said(shop, as_json)


@app.command()
def rollback(project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Give the alias `champion` back to the version that had it before."""
    shop = open_workshop(project, None)
    shop.registry.rollback(shop.project.name, shop.actor)
    _said(shop, as_json)


@app.command()
def diff(first: Which, second: Which, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """What differs between two versions: figures, schema, row steps, encoders, stages, decoding, size."""
    from luban.cli.said import emit
    from luban.cli.show import table

    shop = open_workshop(project, None)
    name = shop.project.name
    a, b = (shop.registry.resolve(name, which).number for which in (first, second))
    rows = shop.registry.diff(name, a, b)
    if as_json:
        emit({"model": name, "differences": rows})
    elif not rows:
        typer.echo(f"Versions {a} and {b} differ in nothing that is recorded.")
    else:
        table([{"what": row["what"], f"version {a}": row["first"], f"version {b}": row["second"]} for row in rows])


@app.command()
def history(project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """The audit trail of this project's releases, checked against tampering."""
    from luban.cli.said import emit
    from luban.cli.show import table

    shop = open_workshop(project, None)
    shop.home.ledger.verify_audit(shop.registry.heads(shop.project.name))
    rows = shop.registry.history(shop.project.name)
    if as_json:
        emit({"model": shop.project.name, "history": rows})
    else:
        table([_told(row) for row in rows])


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the trail as a person reads it; `--json` has all of it."""
    detail = entry["detail"]
    what = entry["object"].rpartition(" ")[2]
    said = detail.get("forced") or detail.get("reason") or ""
    if "to" in detail:
        came = f"{detail['from'] or 'nothing'} → {detail['to']}"
        said = f"champion {came}. {said}" if said else f"champion {came}"
    elif failed := [code for code, status in detail.get("gates", {}).items() if status == "failed"]:
        said = f"in spite of {', '.join(failed)}: {said}"
    shown = ("number", "time", "actor", "verb")
    return {**{name: entry[name] for name in shown}, "time": entry["time"][:19], "version": what, "note": said}


def _row(version: Any) -> dict[str, Any]:
    return {
        "version": version.number,
        "aliases": ", ".join(version.aliases),
        "released": version.created,
        "identity": version.identity[:12],
        "forced": version.forced_reason or "",
    }


def _said(shop: Any, as_json: bool) -> None:
    from luban.cli.said import emit

    champion = shop.registry.resolve(shop.project.name, "champion")
    if as_json:
        emit({"model": shop.project.name, "champion": champion.number})
    else:
        typer.echo(f"The champion of {shop.project.name} is now version {champion.number}.")
