"""Writing: whole or not at all, never over what a person changed, and gone when it is not wanted any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.deploy.base import File
from luban.deploy.write import LIST, write
from luban.errors import ConfigError
from serve.tiny import write_tiny

FILES = [File("a.txt", "a\n"), File("inner/run.sh", "#!/bin/sh\n", executable=True)]


def seen(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name != LIST
    }


def test_written_then_kept(tmp_path: Path) -> None:
    done = write(tmp_path / "to", FILES)
    assert (done.written, done.kept) == (("a.txt", "inner/run.sh"), ())
    assert (tmp_path / "to/inner/run.sh").stat().st_mode & 0o777 == 0o755
    listed = (tmp_path / "to" / LIST).read_bytes()
    done = write(tmp_path / "to", FILES)
    assert (done.written, done.kept) == ((), ("a.txt", "inner/run.sh"))
    assert (tmp_path / "to" / LIST).read_bytes() == listed


def test_what_a_person_changed_stops_all_of_it(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "a.txt").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"a\.txt") as caught:
        write(tmp_path, [File("a.txt", "newer\n"), File("inner/run.sh", "newer\n")])
    assert "--force" in str(caught.value)
    assert seen(tmp_path) == {"a.txt": "mine\n", "inner/run.sh": "#!/bin/sh\n"}
    write(tmp_path, [File("a.txt", "newer\n")], force=True)
    assert seen(tmp_path) == {"a.txt": "newer\n", "a.txt.before": "mine\n"}


def test_a_file_that_was_there_before_is_a_person_s(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine\n")
    with pytest.raises(ConfigError, match="changed by hand"):
        write(tmp_path, FILES)
    (tmp_path / "a.txt").write_text("a\n")  # what would be written anyway
    write(tmp_path, FILES)


def test_what_is_not_wanted_any_more_goes_unless_it_was_changed(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    assert write(tmp_path, FILES[:1]).removed == ("inner/run.sh",)
    assert not (tmp_path / "inner").exists()
    write(tmp_path, FILES)
    (tmp_path / "inner/run.sh").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"inner/run\.sh"):
        write(tmp_path, FILES[:1])
    write(tmp_path, FILES[:1], force=True)
    assert seen(tmp_path) == {"a.txt": "a\n", "inner/run.sh.before": "mine\n"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "inner/secret").write_text("theirs")
    write(tmp_path, FILES[:1])
    assert seen(tmp_path) == {"a.txt": "a\n", "inner/secret": "theirs"}


def test_a_bundle_is_exchanged_whole(tmp_path: Path) -> None:
    first = write_tiny(tmp_path / "first")
    second = write_tiny(tmp_path / "second", bias=1.0)
    to = tmp_path / "to"
    assert "bundle" in write(to, FILES, tmp_path / "first").written
    assert "bundle" in write(to, FILES, tmp_path / "first").kept
    assert "bundle" in write(to, FILES, tmp_path / "second").written
    found = json.loads((to / "bundle/manifest.json").read_text())["identity"]
    assert found == second.identity != first.identity
    (to / "bundle/examples.json").write_text("[]")
    with pytest.raises(ConfigError, match="bundle"):
        write(to, FILES, tmp_path / "first")
    write(to, FILES, tmp_path / "first", force=True)
    assert (to / "bundle.before/examples.json").read_text() == "[]"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(ConfigError, match=r"a\.txt"):
        write(tmp_path, FILES)


def test_a_damaged_list_is_said(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / LIST).write_text("{")
    with pytest.raises(ConfigError, match=LIST):
        write(tmp_path, FILES)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "", LIST, "bundle"])
def test_targets_cannot_write_elsewhere(path: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write(tmp_path / "to", [File(path, "text")])
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_was_forged_removes_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    to = tmp_path / "to"
    write(to, FILES)
    (to / LIST).write_text(json.dumps({"files": {"../precious": "0", "/etc/hostname": "0"}}))
    write(to, FILES, force=True)
    assert (tmp_path / "precious").read_text() == "precious"


NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.dictionaries(NAMES, st.sampled_from(["1\n", "2\n"]), max_size=4)),
        st.tuples(st.just("edit"), NAMES),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_no_change_of_a_person_is_ever_lost(
    steps: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    theirs: dict[str, str] = {}
    for number, (what, about) in enumerate(steps):
        if what == "edit":
            assert isinstance(about, str)
            (folder / about).parent.mkdir(parents=True, exist_ok=True)
            theirs[about] = f"theirs {number}\n"
            (folder / about).write_text(theirs[about])
            continue
        assert isinstance(about, dict)
        before = seen(folder)
        try:
            write(folder, [File(path, text) for path, text in about.items()])
        except ConfigError:
            assert seen(folder) == before
        else:
            assert {path: seen(folder)[path] for path in about} == about
        for path, text in theirs.items():
            assert seen(folder)[path] == text
