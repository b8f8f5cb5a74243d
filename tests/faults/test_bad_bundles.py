"""Bundles that are not as they were written: each is refused by name, before anything of it is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from luban.bundle.bundle import Bundle
from luban.bundle.manifest import FileSpec
from luban.bundle.protocol import read_manifest
from luban.errors import BundleError

from .conftest import Undisturbed
from .project import Tiny


@pytest.fixture
def bundle(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A copy of the released bundle."""
    shutil.copytree(undisturbed.bundle, tmp_path / "bundle", copy_function=shutil.copyfile)
    for path in (tmp_path / "bundle", *(tmp_path / "bundle").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "bundle"


def refused(folder: Path) -> str:
    """What the error says; it must have a hint."""
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    assert caught.value.hint
    return caught.value.message


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_changed_byte_in_any_file(bundle: Path) -> None:
    Bundle.load(bundle)
    for name in files(bundle):
        path = bundle / name
        data = path.read_bytes()
        for place in {0, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            said = refused(bundle)
            assert f"`{name}`" in said or name in said, said
        path.write_bytes(data[:-1])
        assert name in refused(bundle)
        path.write_bytes(data)
    Bundle.load(bundle)


def test_a_missing_file(bundle: Path) -> None:
    for name in files(bundle):
        (bundle / name).rename(bundle.parent / "away")
        assert name in refused(bundle)
        (bundle.parent / "away").rename(bundle / name)


@pytest.mark.parametrize("name", ["notes.txt", "stages/second.onnx", ".hidden", "reports/more.html"])
def test_a_file_that_nobody_named(name: str, bundle: Path) -> None:
    (bundle / name).write_bytes(b"x")
    assert f"holds `{name}`" in refused(bundle)


def test_links(bundle: Path) -> None:
    target = bundle / "stages/model.onnx"
    target.rename(bundle.parent / "model.onnx")
    target.symlink_to(bundle.parent / "model.onnx")
    assert "`stages/model.onnx`, which leads outside" in refused(bundle)
    target.unlink()
    (bundle.parent / "model.onnx").rename(target)
    (bundle / "stages").rename(bundle.parent / "stages")
    (bundle / "stages").symlink_to(bundle.parent / "stages")
    assert "stages" in refused(bundle)
    (bundle / "stages").unlink()
    (bundle.parent / "stages").rename(bundle / "stages")
    (bundle / "link").symlink_to("manifest.json")
    assert "holds `link`" in refused(bundle)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The manifest with a change, sealed again: what an attacker would do, not an accident."""
    path = folder / "manifest.json"
    found = json.loads(path.read_bytes())
    change(found)
    path.write_text(json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")


def test_a_newer_protocol(bundle: Path, tiny: Tiny) -> None:
    rewritten(bundle, lambda manifest: manifest.update(protocol=2, something={"new": 1}))
    tiny.fails(
        "bundle", "verify", str(bundle), says=["protocol 2; this Luban reads up to 1", 'pip install --upgrade "luban"']
    )
    (tiny.folder / "in.csv").write_text("text\nfine\n")
    tiny.fails("predict", "in.csv", "-", "--bundle", str(bundle), says=["protocol 2"])


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("state", lambda m: m.update(state=[{"name": "cache"}])),
        ("base", lambda m: m.update(base="0" * 64)),
        ("stages.0.when", lambda m: m["stages"][0].update(when={"above": 0.5})),
        ("stages.0.state", lambda m: m["stages"][0].update(state=["cache"])),
        ("learn", lambda m: m.update(learn={})),
    ],
)
def test_a_reserved_field(field: str, change: Callable[[dict[str, Any]], None], bundle: Path) -> None:
    rewritten(bundle, change)
    with pytest.raises(BundleError) as caught:
        Bundle.load(bundle)
    assert f"`{field}" in caught.value.message
    assert "reserved" in caught.value.hint


def with_graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Another graph, with hashes and seal that fit."""
    import hashlib

    path = folder / "stages/model.onnx"
    model = onnx.load(str(path))
    change(model)
    data = model.SerializeToString()
    path.write_bytes(data)
    manifest = read_manifest((folder / "manifest.json").read_bytes(), "")
    spec = FileSpec(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    changed = manifest.model_copy(update={"files": {**manifest.files, "stages/model.onnx": spec}})
    (folder / "manifest.json").write_bytes(changed.sealed().to_bytes())


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def hidden_external(model: onnx.ModelProto) -> None:
    """In an attribute of a node of a branch of an If."""
    tensor = helper.make_tensor("outside", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Evil", [], ["z"], domain="com.example"))


def function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    made = helper.make_function("ai.onnx.ml", "Mine", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model.functions.append(made)


def renamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "elsewhere"


GRAPHS: dict[Callable[[onnx.ModelProto], None], str] = {
    external: "lies outside the file",
    hidden_external: "lies outside the file",
    foreign: "the domain `com.example`",
    function: "functions of its own",
    renamed: "not those that the manifest names",
}


@pytest.mark.parametrize("change", GRAPHS, ids=lambda change: change.__name__)
def test_a_graph_that_is_not_allowed(change: Callable[[onnx.ModelProto], None], bundle: Path) -> None:
    with_graph(bundle, change)
    said = refused(bundle)
    assert "stage `model` is refused" in said
    assert GRAPHS[change] in said


def test_no_graph_at_all(bundle: Path) -> None:
    with_graph(bundle, lambda model: model.Clear())
    assert "stage `model` is refused" in refused(bundle)


def test_a_path_that_leads_outside(bundle: Path) -> None:
    (bundle.parent / "outside").write_bytes(b"x")

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"]["../outside"] = manifest["files"]["stages/model.onnx"]

    rewritten(bundle, change)
    manifest = read_manifest((bundle / "manifest.json").read_bytes(), "")
    (bundle / "manifest.json").write_bytes(manifest.sealed().to_bytes())
    assert "`../outside`, which leads outside" in refused(bundle)


def test_not_a_bundle(tmp_path: Path, tiny: Tiny) -> None:
    assert "is not a bundle" in refused(tmp_path)
    assert "is not a bundle" in refused(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_bytes(b"\xff\x00")
    assert "is not a manifest" in refused(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"[]")
    assert "is not a manifest" in refused(tmp_path)


def test_the_command_says_it(bundle: Path, tiny: Tiny) -> None:
    said = tiny.done("bundle", "verify", str(bundle))
    assert "all as written" in said.out
    graph = bundle / "stages/model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    tiny.fails("bundle", "verify", str(bundle), says=["`stages/model.onnx`", "was changed", "Copy the bundle again"])
