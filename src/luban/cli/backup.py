"""`luban backup` and `luban restore`: a copy of the project's state, made while it is in use, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luban.cli.options import AsJson, ProjectPath

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(backup)
    app.command()(restore)


def backup(
    to: Annotated[Path, typer.Argument(help="Folder for backups; each is a folder in it, named by the time.")],
    project: ProjectPath = HERE,
    keep: Annotated[int, typer.Option("--keep", help="Backups to keep, newest first.", min=1)] = 14,
    as_json: AsJson = False,
) -> None:
    """Copy ledger and store, while servers and runs go on; checked, and seen only when it is whole."""
    from luban.cli.options import open_workshop
    from luban.cli.said import emit
    from luban.store.backup import back_up

    done = back_up(open_workshop(project, None).home, to, keep)
    if as_json:
        emit({
            "backup": str(done.folder), "trees": done.num_trees, "audit_entries": done.num_entries,
            "removed": list(done.removed),
        })  # fmt: skip
        return
    typer.echo(f"{done.folder}: {done.num_trees} folders, {done.num_entries} entries of the audit trail, checked.")
    for name in done.removed:
        typer.echo(f"removed {name}")


def restore(
    backup: Annotated[Path, typer.Argument(help="One backup: a folder that `luban backup` made.")],
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """Put a backup where the project has its state, which must be empty; then check every released bundle."""
    from luban.cli.options import open_workshop
    from luban.cli.said import emit
    from luban.store.backup import restore as restore_home

    shop = open_workshop(project, None)
    done = restore_home(backup, shop.home)
    checked = 0
    for name in shop.registry.models():
        shop.home.ledger.verify_audit(shop.registry.heads(name))
        for version in shop.registry.versions(name):
            shop.home.store.verify(version.tree)
            checked += 1
    if as_json:
        emit({"trees": done.num_trees, "audit_entries": done.num_entries, "versions": checked})
    else:
        typer.echo(
            f"Restored {done.num_trees} folders; the audit trail ({done.num_entries} entries) and {checked} released "
            "versions are as they were written."
        )
