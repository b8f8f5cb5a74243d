import hashlib
import io
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

import luban.data.sources.index as index
from data.sources.reading import rows_of, table_of
from luban.catalog import SOURCES
from luban.data.sources.archive import unpack
from luban.data.sources.package import Package
from luban.errors import DataError, StoreError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tar(path: Path, members: dict[str, str], *others: tarfile.TarInfo) -> str:
    """Writes a .tar.gz; gives its SHA-256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for other in others:
            archive.addfile(other)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A client that gives one archive, and counts how often it was started."""
    archive = tmp_path / "served.tar.gz"
    started = []

    def client(pin, folder):
        started.append(pin.name)
        return Path(shutil.copy(archive, folder / "toy-1.0.tar.gz"))

    monkeypatch.setitem(index._CLIENTS, index.Index.NPM, client)
    sha256 = tar(
        archive, {"toy-1.0/data/pos.txt": "good\nfine\n", "toy-1.0/data/neg.txt": "bad\n", "toy-1.0/t.csv": "a\n1\n"}
    )
    return sha256, started


def toy(sha256: str | None, **settings: object) -> Package:
    settings = settings or {"files": {"positive": "data/pos.txt", "negative": "data/neg.txt"}}
    return SOURCES.make("package", {"index": "npm", "name": "toy", "version": "1.0", "sha256": sha256, **settings})


def test_rows_come_from_the_package_and_then_from_the_cache(served):
    sha256, started = served
    rows = [("good", "positive"), ("fine", "positive"), ("bad", "negative")]
    assert [tuple(row.values()) for row in rows_of(toy(sha256))] == rows
    assert rows_of(toy(sha256, path="t.csv")) == [{"a": "1"}]
    assert table_of(toy(sha256), batch_rows=1) == table_of(toy(sha256))
    assert toy(sha256).pins()["npm:toy==1.0"] == sha256
    assert started == ["toy"]


def test_a_package_gives_the_fingerprint_of_its_files(served, tmp_path):
    (tmp_path / "pos.txt").write_text("good\nfine\n")
    (tmp_path / "neg.txt").write_text("bad\n")
    files = {"positive": str(tmp_path / "pos.txt"), "negative": str(tmp_path / "neg.txt")}
    assert toy(served[0]).fingerprint() == SOURCES.make("text-files", {"files": files}).fingerprint()


def test_another_hash_is_refused_with_both_and_nothing_is_kept(served, cache):
    with pytest.raises(DataError) as caught:
        rows_of(toy("0" * 64))
    assert "0" * 64 in caught.value.message
    assert served[0] in caught.value.message
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_without_a_hash_the_one_found_is_stated(served, cache):
    with pytest.raises(DataError, match=f"`sha256` must be given(.|\n)*{served[0]}"):
        rows_of(toy(None))
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_member_that_is_not_there_names_the_nearest(served):
    with pytest.raises(DataError, match=r"pos\.text(.|\n)*`pos\.txt`"):
        rows_of(toy(served[0], files={"positive": "data/pos.text"}))


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"a": "../x"}},
        {"files": {"a": "/etc/passwd"}},
        {"path": "a/../../b"},
        {"path": "memory://x"},
        {"path": "~/x"},
        {"files": None, "path": None},
        {"path": "x"},
        {"version": None},
        {"sha256": "abc"},
        {"name": "--help"},
        {"version": "1.0 --index-url"},
        {"index": "cran"},
    ],
    ids=str,
)
def test_settings_that_cannot_be(change):
    settings = {"index": "npm", "name": "toy", "version": "1.0", "sha256": "0" * 64, "files": {"a": "b"}}
    if "path" in change and "files" not in change and change["path"] != "x":
        settings.pop("files")
    with pytest.raises(ValidationError):
        Package.Config.model_validate({**settings, **change})


def test_a_client_that_is_missing_or_fails(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="needs the program `npm`"):
        rows_of(toy("0" * 64))
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(DataError, match=r"toy 1\.0 cannot be fetched: `/bin/false pack toy@1\.0 .*` ended with 1"):
        rows_of(toy("0" * 64))


def test_a_cache_that_cannot_be_written(served, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="LUBAN_CACHE"):
        rows_of(toy(served[0]))


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.parametrize(
    ("members", "others"),
    [
        ({"../evil.txt": "x"}, []),
        ({"/evil.txt": "x"}, []),
        ({"a/../../evil.txt": "x"}, []),
        ({"..\\evil.txt": "x"}, []),
        ({}, [link("a", "/etc/passwd", tarfile.SYMTYPE)]),
        ({}, [link("a", "b", tarfile.LNKTYPE)]),
        ({}, [link("a", "", tarfile.FIFOTYPE)]),
        ({}, [link("a", "", tarfile.CHRTYPE)]),
    ],
    ids=["up", "absolute", "up within", "backslash", "link", "hard link", "pipe", "device"],
)
def test_unsafe_archives_are_refused(tmp_path, members, others):
    tar(tmp_path / "a.tar.gz", members, *others)
    (tmp_path / "to").mkdir()
    with pytest.raises(DataError, match="is refused"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())
    assert not list(tmp_path.rglob("evil.txt"))


def test_unsafe_zips_are_refused(tmp_path):
    for name, mode in {"../evil.txt": 0o100644, "link": stat.S_IFLNK | 0o777}.items():
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
            archive.writestr(member, "x")
        with pytest.raises(DataError, match="is refused"):
            unpack(tmp_path / "a.whl", tmp_path / "to")


def test_an_archive_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("luban.data.sources.archive.MAX_BYTES", 1000)
    tar(tmp_path / "a.tar.gz", {"a": "x" * 1001})
    with pytest.raises(DataError, match="makes it larger"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "to")


def test_a_damaged_archive(tmp_path):
    tar(tmp_path / "a.tar.gz", {"a": "x" * 100_000})
    (tmp_path / "a.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:-30])
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "to")


def test_a_package_that_is_installed(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "toys").mkdir(parents=True)
    (site / "toys" / "t.csv").write_text("569,30,good,bad\n1,2\n3,4\n")
    (site / "toys-1.2.dist-info").mkdir()
    (site / "toys-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(site))
    settings = {"index": "installed", "name": "toys", "path": "toys/t.csv", "csv": {"column_names": ["a", "b"]}}
    assert rows_of(SOURCES.make("package", settings)) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert rows_of(SOURCES.make("package", {**settings, "version": "1.2"}))
    with pytest.raises(DataError, match=r"must be the installed 1\.2"):
        rows_of(SOURCES.make("package", {**settings, "version": "0.1"}))
    with pytest.raises(DataError, match=r"`toyz` is not installed(.|\n)*`toys`"):
        rows_of(SOURCES.make("package", {**settings, "name": "toyz"}))


def test_the_breast_cancer_table_of_scikit_learn():
    pytest.importorskip("sklearn")
    names = [*(f"x{i}" for i in range(30)), "target"]
    path = "sklearn/datasets/data/breast_cancer.csv"
    settings = {"index": "installed", "name": "scikit-learn", "path": path, "csv": {"column_names": names}}
    read = table_of(SOURCES.make("package", settings))
    assert (read.num_rows, read.num_columns) == (569, 31)
    assert set(read.column("target").to_pylist()) == {"0", "1"}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"the program {program} is not here")


def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a client was started: {args}")

    monkeypatch.setattr(subprocess, "run", fail)


def pinned(settings: dict[str, object]) -> dict[str, object]:
    """The settings with the hash that the refusal of an unpinned package states."""
    with pytest.raises(DataError) as caught:
        rows_of(SOURCES.make("package", settings))
    found = re.search(r"sha256: ([0-9a-f]{64})", caught.value.hint)
    assert found is not None, str(caught.value)
    return {**settings, "sha256": found[1]}


SIX = {"index": "pypi", "name": "six", "version": "1.16.0"}
SIX_SDIST = "1e61c37477a1626458e36f7b1d82aa5c9b094fa4802892072e49de9c60c4c926"


def test_pypi_then_offline(monkeypatch):
    settings = {**SIX, "sha256": SIX_SDIST, "files": {"licence": "LICENSE"}}
    assert pinned({**SIX, "files": {"licence": "LICENSE"}}) == settings
    with pytest.raises(DataError, match=f"`sha256` is {'0' * 64}, but .* has {SIX_SDIST}"):
        rows_of(SOURCES.make("package", {**settings, "sha256": "0" * 64}))
    rows = rows_of(SOURCES.make("package", settings))
    assert "Permission is hereby granted" in rows[1]["text"]
    no_client(monkeypatch)
    assert rows_of(SOURCES.make("package", settings)) == rows


def test_pypi_wheel():
    settings = pinned({**SIX, "artifact": "wheel", "files": {"code": "six.py"}})
    assert settings["sha256"] == "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
    assert len(rows_of(SOURCES.make("package", settings))) > 500


def test_a_version_that_is_not_there():
    with pytest.raises(DataError, match=r"pypi package six 999\.1 cannot be fetched"):
        rows_of(SOURCES.make("package", {**SIX, "version": "999.1", "sha256": "0" * 64, "path": "x"}))


@needs("npm")
def test_npm_then_offline(monkeypatch):
    settings = pinned({"index": "npm", "name": "is-number", "version": "7.0.0", "files": {"readme": "README.md"}})
    rows = rows_of(SOURCES.make("package", settings))
    assert any("is-number" in str(row["text"]) for row in rows)
    no_client(monkeypatch)
    assert rows_of(SOURCES.make("package", settings)) == rows


@needs("apt-get")
@needs("dpkg-deb")
def test_debian_then_offline(monkeypatch):
    name, version = "hostname", debian_version("hostname")
    settings = {"index": "debian", "name": name, "version": version}
    settings = pinned({**settings, "files": {"copyright": "usr/share/doc/hostname/copyright"}})
    rows = rows_of(SOURCES.make("package", settings))
    assert any("opyright" in str(row["text"]) for row in rows)
    no_client(monkeypatch)
    assert rows_of(SOURCES.make("package", settings)) == rows


def debian_version(name: str) -> str:
    """The version that this machine's lists know; they are fetched first where there are none."""
    for fetch in (False, True):
        if fetch:
            subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=True)
        said = subprocess.run(["apt-cache", "madison", name], capture_output=True, text=True, check=True).stdout
        if said.strip():
            return said.splitlines()[0].split("|")[1].strip()
    raise AssertionError(f"no version of {name} is known to {sys.platform}'s apt-get")
