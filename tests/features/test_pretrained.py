import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from luban.errors import ConfigError
from luban.features.kinds import TokensConfig
from luban.features.pretrained import PretrainedFiles

NOWHERE = "http://127.0.0.1:9"
COMMIT = "a" * 40


def made(folder: Path, content: str = "{}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(content)
    return folder


def test_a_name_alone_will_do():
    assert PretrainedFiles.model_validate("./x") == PretrainedFiles(name="./x")


def test_known_by_what_it_holds_not_where_it_lies(tmp_path):
    made(tmp_path / "a/model"), made(tmp_path / "b/other")
    first, second = (PretrainedFiles(name=name).at(tmp_path) for name in ("a/model", "./b/other"))
    assert first.identity() == second.identity()
    assert first.folder == tmp_path / "a/model"
    made(tmp_path / "b/other", '{"x": 1}')
    assert PretrainedFiles(name="b/other").at(tmp_path).identity() != first.identity()


def test_what_is_no_setting_and_no_weight_does_not_count(tmp_path):
    before = PretrainedFiles(name="m").at(made(tmp_path / "m").parent).sha256
    (tmp_path / "m/README.md").write_text("hello")
    assert PretrainedFiles(name="m").at(tmp_path).sha256 == before


def test_found_inside_other_settings(tmp_path):
    made(tmp_path / "m")
    found = TokensConfig.model_validate({"tokenizer": "m"}).at(tmp_path)
    assert found.identity()["tokenizer"] == {"sha256": PretrainedFiles(name="m").at(tmp_path).sha256}
    assert TokensConfig.model_validate(found.model_dump(mode="json")).at(Path("/")) == found


def test_a_stated_hash_must_be_that_of_the_files(tmp_path):
    made(tmp_path / "m")
    with pytest.raises(ConfigError, match="must have the hash"):
        PretrainedFiles(name="m", sha256="0" * 64).at(tmp_path)


@pytest.mark.parametrize("name", ["./nothing", "/nothing/here", "a/b/c"])
def test_a_folder_that_is_not_there(tmp_path, name):
    with pytest.raises(ConfigError, match="no such folder"):
        PretrainedFiles(name=name).at(tmp_path)


def at_in_a_process(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`acme/tiny` looked for in a process with an empty home: the hub's library reads its settings once."""
    code = (
        "from pathlib import Path; from luban.features.pretrained import PretrainedFiles\n"
        "found = PretrainedFiles(name='acme/tiny').at(Path('/')); print(found.sha256, found.place)"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    full = {**clean, "HF_HOME": str(tmp_path / "home"), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=full, timeout=120)


def test_a_hub_that_is_not_there(tmp_path):
    found = at_in_a_process(tmp_path, HF_ENDPOINT=NOWHERE)
    assert found.returncode == 1
    assert f"ConfigError: `acme/tiny` is no folder here, and the hub {NOWHERE} did not give it" in found.stderr
    assert "download it and name the folder" in found.stderr


def test_what_was_fetched_before_needs_no_hub(tmp_path):
    cache = tmp_path / "home/hub/models--acme--tiny"
    made(cache / f"snapshots/{COMMIT}")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(COMMIT)
    for environment in ({"HF_ENDPOINT": NOWHERE}, {"HF_HUB_OFFLINE": "1"}):
        found = at_in_a_process(tmp_path, **environment)
        assert found.returncode == 0, found.stderr
        assert found.stdout.split()[0] == PretrainedFiles(name=".").at(cache / f"snapshots/{COMMIT}").sha256


class Mirror(http.server.BaseHTTPRequestHandler):
    """As much of a hub as it takes to give one model: settings, weights, and a pickle that must not be fetched."""

    files: ClassVar[dict[str, bytes]] = {"config.json": b"{}", "model.safetensors": b"x" * 8, "pytorch_model.bin": b"p"}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.asked.append(self.path)
        if "/tree/" in self.path:
            entries = [{"type": "file", "path": n, "size": len(d), "oid": n} for n, d in self.files.items()]
            data = json.dumps(entries).encode()
        elif self.path.startswith("/api/models/acme/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            data = json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": siblings, "tags": []}).encode()
        elif (name := self.path.rsplit("/", 1)[1]) in self.files:
            data = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(data)}-{self.path.rsplit("/", 1)[1]}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_a_mirror_is_asked_and_no_pickle_is_fetched(tmp_path):
    Mirror.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = at_in_a_process(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert found.returncode == 0, found.stderr
    place = Path(found.stdout.split()[1])
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "model.safetensors"]
    assert any("config.json" in path for path in Mirror.asked)
    assert not any("pytorch_model.bin" in path for path in Mirror.asked)
    shutil.rmtree(place)
