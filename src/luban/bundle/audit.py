"""Audit before anything is built: every file's hash, the order of stages, what is reserved.

`open_files` gives the bytes that were hashed, so that nothing can be exchanged between the check and
the use. It knows no stage's content: runtimes audit their own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from luban.bundle.manifest import MANIFEST, Manifest, StageSpec
from luban.bundle.protocol import read_manifest
from luban.catalog import RUNTIMES
from luban.errors import BundleError, UnknownName

_AGAIN = "Copy the bundle again from where it was released, or release it again."


def audit(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Check a bundle's folder; gives its manifest and the bytes of every file outside `reports/`.

    Raises BundleError naming the file or field that is wrong. Reports are hashed, but not kept.
    """
    manifest = _manifest(folder)
    found = {
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    strange = sorted(found - {MANIFEST} - set(manifest.files))
    if strange:
        raise BundleError(f"The bundle `{folder}` holds `{strange[0]}`, which its manifest does not name.", _AGAIN)
    kept: dict[str, bytes] = {}
    for name, spec in sorted(manifest.files.items()):
        data = _read(folder, name)
        if hashlib.sha256(data).hexdigest() != spec.sha256:
            raise BundleError(
                f"`{name}` of the bundle `{folder}` was changed: its SHA-256 is not the manifest's.", _AGAIN
            )
        if not name.startswith("reports/"):
            kept[name] = data
    _check_references(manifest)
    _check_stages(manifest, kept)
    return manifest, kept


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"`{folder}` is not a bundle: it has no {MANIFEST}.", "Name the folder that holds it.")
    data = path.read_bytes()
    manifest = read_manifest(data, str(folder))
    if manifest.sealed().seal != manifest.seal or manifest.to_bytes() != data:
        raise BundleError(f"`{MANIFEST}` of the bundle `{folder}` was changed: its seal does not fit.", _AGAIN)
    if manifest.sealed().identity != manifest.identity:
        raise BundleError(f"`{MANIFEST}` of the bundle `{folder}` has a false identity.", _AGAIN)
    return manifest


def _read(folder: Path, name: str) -> bytes:
    pure = PurePosixPath(name)
    path = folder / name
    # The folder itself may be a link: a deployment points it at another bundle. Nothing in it may.
    below = (pure, *pure.parents[:-1])
    if pure.is_absolute() or ".." in pure.parts or any((folder / part).is_symlink() for part in below):
        raise BundleError(f"The manifest of `{folder}` names `{name}`, which leads outside the bundle.", _AGAIN)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"`{name}` is missing in the bundle `{folder}`.", _AGAIN) from None


def _check_references(manifest: Manifest) -> None:
    named = [f for s in manifest.stages for f in s.files]
    named += [f for e in manifest.encoders for f in (e.file, e.tensors) if f is not None]
    for name in [*named, *manifest.personal]:
        if name not in manifest.files:
            raise BundleError(f"The manifest refers to `{name}`, which is not among its files.", _AGAIN)


def _check_stages(manifest: Manifest, files: dict[str, bytes]) -> None:
    if not manifest.stages:
        raise BundleError("The bundle has no stage.", _AGAIN)
    known = {f"{e.column}/{e.array_kind}/{e.fingerprint}" for e in manifest.encoders}
    given: set[str] = set()
    for stage in manifest.stages:
        for name in stage.takes:
            if name not in given and name.rpartition(".")[0] not in known:
                raise BundleError(f"The stage `{stage.name}` takes `{name}`, which nothing before it gives.", _AGAIN)
        given |= set(stage.gives)
        _check_stage(stage, files)


def _check_stage(stage: StageSpec, files: dict[str, bytes]) -> None:
    try:
        runtime = RUNTIMES.resolve(stage.runtime)()
    except UnknownName as error:
        raise BundleError(f"The stage `{stage.name}` needs a runtime that is not here. {error}") from None
    refused = runtime.audit(stage, files)
    if refused is not None:
        raise BundleError(f"The stage `{stage.name}` is refused: {refused}.", _AGAIN)
