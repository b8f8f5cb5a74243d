from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.errors import StoreError
from luban.store.blobs import Store

NAMES = st.text(st.sampled_from("ab中 .-"), min_size=1, max_size=5).filter(lambda name: name.strip(".") != "")
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=50), max_size=6)
SAME_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)


def write(folder: Path, files: dict[tuple[str, ...], bytes]) -> dict[str, bytes]:
    """Write what can be written (a path may be both a file and a folder), and say what was."""
    written = {}
    for parts, content in files.items():
        path = folder.joinpath(*parts)
        if any(parent.is_file() for parent in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written["/".join(parts)] = content
    return written


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@SAME_STORE
@given(content=st.binary(max_size=3000))
def test_put_is_idempotent_and_reads_back(any_store: Store, content: bytes) -> None:
    sha = any_store.put(content)
    assert sha == hashlib.sha256(content).hexdigest() == any_store.put(io.BytesIO(content)) == any_store.put(content)
    assert any_store.has(sha)
    assert any_store.read(sha) == content
    with any_store.open(sha) as file:
        assert file.read() == content
    any_store.verify(sha)


@SAME_STORE
@given(files=TREES)
def test_a_tree_is_named_by_its_files_alone(any_store: Store, files: dict[tuple[str, ...], bytes]) -> None:
    with any_store.scratch() as one, any_store.scratch() as two:
        written = write(one, files)
        write(two, dict(reversed([(tuple(name.split("/")), content) for name, content in written.items()])))
        (two / "an empty folder").mkdir()
        sha = any_store.publish(one)
        assert any_store.publish(two) == sha
    assert any_store.has_tree(sha)
    assert tree(any_store.fetch(sha)) == written
    any_store.verify(sha)


def test_trees_differ_by_path_and_by_content(any_store: Store, tmp_path: Path) -> None:
    shas = set()
    for name, content in (("a", b"x"), ("b", b"x"), ("a", b"y"), ("d/a", b"x")):
        folder = tmp_path / f"{name.replace('/', '-')}{content!r}"
        write(folder, {tuple(name.split("/")): content})
        shas.add(any_store.publish(folder))
        assert folder.is_dir(), "a folder that is not the store's own is copied, not moved"
    assert len(shas) == 4


def test_a_scratch_folder_is_published_by_rename_and_read_only(store: Store) -> None:
    with store.scratch("x") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        inode = (folder / "sub" / "file").stat().st_ino
        fetched = store.fetch(store.publish(folder))
        assert not folder.exists()
    assert (fetched / "sub" / "file").stat().st_ino == inode, "fetching and publishing copy nothing"
    modes = {path.stat().st_mode & 0o222 for path in (fetched, fetched / "sub", fetched / "sub" / "file")}
    assert modes == {0}


def test_scratch_is_gone_afterwards_also_after_an_error(any_store: Store) -> None:
    with pytest.raises(KeyError), any_store.scratch("a/b") as folder:  # noqa: PT012
        (folder / "file").write_text("x")
        raise KeyError
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_drop_removes_blob_and_tree(any_store: Store) -> None:
    sha = any_store.put(b"x")
    with any_store.scratch() as folder:
        (folder / "f").write_bytes(b"x")
        name = any_store.publish(folder)
    fetched = any_store.fetch(name)
    assert any_store.drop(sha)
    assert any_store.drop(name)
    assert not any_store.has(sha)
    assert not any_store.has_tree(name)
    assert not fetched.exists(), "an erased tree stays in no cache"
    assert not any_store.drop(name)
    for missing in (any_store.open, any_store.read, any_store.fetch, any_store.verify):
        with pytest.raises(StoreError, match=r"no (blob|tree)"):
            missing(name)


def test_damage_is_found(store: Store) -> None:
    sha = store.put(b"hello")
    with store.scratch() as folder:
        (folder / "f").write_bytes(b"hello")
        name = store.publish(folder)
    root = Path(store.url) / "default"
    for path in (root / "blobs" / sha[:2] / sha, root / "trees" / name / "f"):
        path.chmod(0o644)
        path.write_bytes(b"hellO")
    for damaged in (lambda: store.verify(sha), lambda: store.read(sha), lambda: store.verify(name)):
        with pytest.raises(StoreError, match="damaged"):
            damaged()


def test_a_damaged_remote_tree_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "cache"))
    store = Store("memory://damaged")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_bytes(b"x")
    sha = store.publish(tmp_path / "tree")
    fsspec.filesystem("memory").pipe_file(f"/damaged/default/trees/{sha}/f", b"y")
    with pytest.raises(StoreError, match="damaged"):
        store.fetch(sha)


def test_workspaces_see_nothing_of_each_other(tmp_path: Path) -> None:
    sha = Store(tmp_path, "one").put(b"x")
    assert not Store(tmp_path, "two").has(sha)
    with pytest.raises(StoreError, match="workspace"):
        Store(tmp_path, "../one")


@pytest.mark.parametrize("sha", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_names_must_be_hashes(store: Store, sha: str) -> None:
    for use in (store.open, store.has, store.fetch, store.has_tree, store.drop, store.verify):
        with pytest.raises(StoreError, match="64 hexadecimal digits"):
            use(sha)


def test_links_are_not_published(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="neither a plain file"):
        store.publish(tmp_path / "t")


def test_unknown_urls_are_refused() -> None:
    with pytest.raises(StoreError, match="nosuch"):
        Store("nosuch://place")
