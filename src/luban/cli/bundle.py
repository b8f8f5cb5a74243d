"""`luban bundle`: look at a bundle's folder, check it, copy one out of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luban.cli.options import AsJson, ProjectPath
from luban.errors import BundleError

app = typer.Typer(help="Check a bundle, or copy one out of the store.", no_args_is_help=True, rich_markup_mode=None)
HERE = Path()


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="The bundle's folder.")], as_json: AsJson = False) -> None:
    """Audit every byte, build, and answer the bundle's own examples."""
    from luban.bundle.bundle import Bundle
    from luban.cli.said import emit

    bundle = Bundle.load(folder)
    manifest = bundle.manifest
    size = sum(spec.bytes for spec in manifest.files.values())
    if as_json:
        emit({"name": manifest.name, "identity": bundle.identity, "protocol": manifest.protocol, "bytes": size})
    else:
        typer.echo(
            f"{manifest.name}: {len(manifest.files)} files, {size / 1e6:.1f} MB, all as written; "
            f"it answers its own examples as it should.\nidentity {bundle.identity}"
        )


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where to; must not exist yet.")],
    project: ProjectPath = HERE,
    model: Annotated[str, typer.Option("--model", help="Version or alias of the project's model.")] = "champion",
) -> None:
    """Copy a released bundle to a folder of your own."""
    import shutil

    from luban.bundle.bundle import Bundle
    from luban.cli.options import open_workshop

    if folder.exists():
        raise BundleError(f"`{folder}` must not exist yet, but it does.", "Name another folder.")
    shop = open_workshop(project, None)
    version = shop.registry.resolve(shop.project.name, model)
    shutil.copytree(shop.home.store.fetch(version.tree), folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    Bundle.load(folder)
    typer.echo(f"{version.name} {version.number} is in {folder}")
