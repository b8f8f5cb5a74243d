"""Who is let in, and where the server listens."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from luban.errors import ConfigError, ServeError
from luban.serve.address import listen
from luban.serve.config import ServeConfig
from luban.serve.guards.keys import Keys

OLD, NEW = "an-old-key-0123456789", "a-new-key-0123456789"
CLOSED = ["/v1/model", "/openapi.json", "/metrics"]


class TestWithKeys:
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {"LUBAN_API_KEY": f"{OLD}, {NEW},"}

    def test_nothing_without_a_key(self, client: httpx.Client) -> None:
        for path in CLOSED:
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        assert client.post("/v1/predict", json={"rows": []}).status_code == 401

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": f"Bearer {OLD}x"},
            {"authorization": f"Basic {OLD}"},
            {"authorization": OLD},
            {"x-api-key": ""},
            {"x-api-key": f"{OLD},{NEW}"},
            {"authorization": "Bearer wrong", "x-api-key": OLD},
        ],
    )
    def test_wrong_keys(self, client: httpx.Client, headers: dict[str, str]) -> None:
        assert client.get("/v1/model", headers=headers).status_code == 401

    @pytest.mark.parametrize(
        "headers", [{"authorization": f"Bearer {OLD}"}, {"authorization": f"bearer {NEW}"}, {"x-api-key": NEW}]
    )
    def test_right_keys(self, client: httpx.Client, headers: dict[str, str]) -> None:
        for path in CLOSED:
            assert client.get(path, headers=headers).status_code == 200
        assert client.post("/v1/predict", json={"rows": []}, headers=headers).status_code == 200

    def test_health_is_open_and_the_page_tells_nothing(self, client: httpx.Client) -> None:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 200
        assert "reviews" not in client.get("/").text
        assert "reviews" in client.get("/", headers={"x-api-key": NEW}).text


class TestOpenMetrics:
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {"LUBAN_API_KEY": OLD}

    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig(port=0, open_metrics=True)

    def test_only_metrics(self, client: httpx.Client) -> None:
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/model").status_code == 401


@pytest.mark.parametrize("text", ["", " , ", "short", "with a space in the midst", "ключ-ключ-ключ-ключ"])
def test_unusable_keys_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keys.from_environment({"LUBAN_API_KEY": text})
    assert len(text) < 4 or text not in str(caught.value)


def test_no_variable_no_key() -> None:
    assert not Keys.from_environment({})
    assert OLD not in repr(Keys((OLD,)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_key_only_loopback(host: str) -> None:
    with pytest.raises(ServeError, match="LUBAN_API_KEY"):
        listen(ServeConfig(host=host, port=0), Keys())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    listen(ServeConfig(host=host, port=0), Keys()).close()


def test_a_key_or_its_absence_said_aloud_opens_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[tuple[str, int]] = []

    class Socket:
        pass

    def create_server(address: tuple[str, int], **more: object) -> Socket:
        bound.append(address)
        return Socket()

    # Not really bound: a test opens no port to the world.
    monkeypatch.setattr("socket.create_server", create_server)
    listen(ServeConfig(host="0.0.0.0", port=0), Keys((OLD,)))
    listen(ServeConfig(host="0.0.0.0", port=0, no_key=True), Keys())
    assert bound == [("0.0.0.0", 0)] * 2


def test_a_taken_port_is_said() -> None:
    with listen(ServeConfig(port=0), Keys()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port}"):
            listen(ServeConfig(port=port), Keys())


def test_a_host_that_is_none_is_said() -> None:
    with pytest.raises(ServeError, match="`host` must be an address of this machine"):
        listen(ServeConfig(host="no.such.host.invalid", port=0), Keys())


def test_keys_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{OLD}\n{NEW},\n\n", "utf-8")
    keys = Keys.from_environment({"LUBAN_API_KEY_FILE": str(file)})
    assert (keys.find(OLD), keys.find(NEW), keys.find("")) == (1, 2, None)


def test_files_without_keys_are_refused(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n,\n", "utf-8")
    binary.write_bytes(b"\xff\xfe" * 20)
    for file, said in ((empty, "holds no key"), (binary, "not UTF-8"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(ConfigError, match=said):
            Keys.from_environment({"LUBAN_API_KEY_FILE": str(file)})
    with pytest.raises(ConfigError, match="both set"):
        Keys.from_environment({"LUBAN_API_KEY_FILE": str(empty), "LUBAN_API_KEY": OLD})
