from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from luban.store.keys import environment, result_key, source_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "made_for_keys"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/step.py", "inner/words.txt"):
        (folder / name).write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    source_hash.cache_clear()
    return folder


def key(**changes: object) -> str:
    settings = {
        "verb": "prepare",
        "code": ["luban.prepare"],
        "libraries": ["numpy"],
        "config": {"a": 1},
        "inputs": {"data": "f"},
    }
    return result_key(**{**settings, **changes})  # type: ignore[arg-type]


def test_a_key_covers_all_that_decides() -> None:
    changed = [
        key(),
        key(verb="train"),
        key(code=["luban.store.keys"]),
        key(libraries=["pyarrow"]),
        key(libraries=["not-installed"]),
        key(config={"a": 2}),
        key(inputs={"data": "g"}),
    ]
    assert len(set(changed)) == len(changed)
    assert key() == key()
    assert key(code=["luban.store.keys", "luban.prepare"]) == key(code=["luban.prepare", "luban.store.keys"])


def test_source_is_read_without_being_imported(package: Path) -> None:
    seen = {source_hash("made_for_keys"), source_hash("made_for_keys.inner"), source_hash("made_for_keys.inner.step")}
    assert len(seen) == 3
    assert "made_for_keys" not in sys.modules


def test_changed_source_changes_what_contains_it(package: Path) -> None:
    names = ["made_for_keys", "made_for_keys.inner", "made_for_keys.inner.step"]
    before = [source_hash(name) for name in names]
    (package / "inner" / "step.py").write_text("changed")
    source_hash.cache_clear()
    assert all(source_hash(name) != old for name, old in zip(names, before, strict=True))
    (package / "inner" / "words.txt").write_text("changed")
    middle = source_hash("made_for_keys.inner.step")
    source_hash.cache_clear()
    assert source_hash("made_for_keys.inner.step") == middle
    (package / "inner" / "__pycache__").mkdir()
    (package / "inner" / "__pycache__" / "step.pyc").write_bytes(b"x")
    whole = source_hash("made_for_keys")
    source_hash.cache_clear()
    assert source_hash("made_for_keys") == whole, "byte code does not count"


def test_unknown_code_is_a_programmers_error() -> None:
    for name in ("no_such_package", "luban.no_such_module", "luban.errors.inner"):
        with pytest.raises(ModuleNotFoundError):
            source_hash(name)


def test_environment_names_versions() -> None:
    found = environment()
    assert found["libraries"]["numpy"]
    assert found["processors"] >= 1


def test_keys_import_nothing_heavy() -> None:
    code = (
        "import sys; from luban.store.keys import result_key; result_key('v', ['luban.prepare'], ['numpy'], {}, {});"
        "from luban.store.blobs import Store; Store('/tmp/none');"
        "print([m for m in ('sqlalchemy', 'numpy', 'pyarrow', 'luban.prepare') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
