"""NGINX and HAProxy as they are configured, run for real: a server dies or drains under load, and nobody notices."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from luban.deploy.compose import Compose
from luban.deploy.proxies.front import GRPC, Front
from luban.deploy.proxies.target import Proxy, ProxyConfig
from luban.deploy.vm import Vm
from luban.errors import ConfigError
from luban.serve.config import ServeConfig
from luban.serve.http.tls import TlsConfig
from ports import free_ports
from serve.tiny import write_tiny

from .fronted import PROXIES, Broken, configured, front_settings
from .plans import plan
from .running import COMMANDS, Clients, answered, certificate, listens, luban, process, program, wait_for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


def checked(proxy: str, config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the program itself says of a configuration."""
    command = COMMANDS[proxy](config, folder)
    more = ["-t"] if proxy == "nginx" else ["-c", "-V"]
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize("limits", [True, False], ids=["limits", "no limits"])
def test_the_program_accepts_it_without_a_warning(proxy: str, tls: bool, limits: bool, tmp_path: Path) -> None:
    program(proxy)
    cert, _ = certificate(tmp_path)
    changes: dict[str, object] = {"rate_per_s": 10, "max_connections": 5} if limits else {"max_connections": 0}
    if tls:
        changes |= {"tls": True, "certificate": str(cert), "certificate_key": f"{cert}.key", "plain_port": 8080}
    config, _ = configured(proxy, tmp_path, [1, 2, 3], free_ports(1)[0], **changes)
    done = checked(proxy, config, tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warn" not in said.lower()
    config.write_text(config.read_text("utf-8").replace("1s", "1 s second", 1), "utf-8")
    assert checked(proxy, config, tmp_path).returncode != 0, "the check itself can fail"


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_server_is_killed_and_another_drained_under_load(proxy: str, bundle: Path, tmp_path: Path) -> None:
    program(proxy)
    cert, context = certificate(tmp_path)
    first, second, port = free_ports(3)
    config, _ = configured(proxy, tmp_path, [first, second], port, **front_settings(cert))
    log, settings = tmp_path / "servers.log", {"LUBAN__SERVE__DRAIN_S": "1.5"}
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(luban(bundle, first, log, **settings))
        two = stack.enter_context(luban(bundle, second, log, **settings))
        stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        with Clients(port, context).asking() as clients:
            clients.more(200)
            wait_for(lambda: min(answered(first), answered(second)) > 20, "answers of both", log)
            one.kill()
            one.wait()
            clients.more(300)
            stack.enter_context(luban(bundle, first, log, **settings))
            back = "requests at the server that came back"
            wait_for(lambda: answered(first) > 20 or bool(clients.failures), back, log)
            two.send_signal(signal.SIGTERM)
            wait_for(lambda: two.poll() is not None, "the second server to end", log)
            clients.more(300)
        assert clients.failures == []
        assert two.returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("proxy", PROXIES)
def test_grpc_goes_through_while_a_server_is_killed(proxy: str, bundle: Path, tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc")
    program(proxy)
    cert, _ = certificate(tmp_path)
    first, second, *ports, port = free_ports(5)
    settings = front_settings(cert) | {"grpc_servers": tuple(f"127.0.0.1:{one}" for one in ports)}
    config, _ = configured(proxy, tmp_path, [first, second], port, **settings)
    said = checked(proxy, config, tmp_path)
    assert said.returncode == 0, said.stderr
    log = tmp_path / "servers.log"
    with contextlib.ExitStack() as stack:
        one, _ = (
            stack.enter_context(luban(bundle, place, log, LUBAN__SERVE__GRPC__PORT=str(at)))
            for place, at in zip((first, second), ports, strict=True)
        )
        stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        channel = stack.enter_context(grpc.secure_channel(f"localhost:{port}", trusted))
        live = channel.unary_unary(f"{GRPC}ServerLive", request_serializer=bytes, response_deserializer=bytes)
        answers = []
        for number in range(200):
            if number == 50:
                one.kill()
                one.wait()
            answers.append(live(b"", timeout=60))
            time.sleep(0.02)  # longer in all than a proxy takes to ask for health several times
        assert set(answers) == {bytes([8, 1])}, "live: true, as protobuf writes it"


def post(port: int, path: str, headers: dict[str, str] | None = None, size: int = 10) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, b"x" * size, {"Content-Type": "application/json", **(headers or {})})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("proxy", PROXIES)
def test_only_what_changes_nothing_is_asked_again(proxy: str, tmp_path: Path) -> None:
    program(proxy)
    first, second, port = free_ports(3)
    config, front = configured(proxy, tmp_path, [first, second], port, max_body_bytes=5_000)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Broken(one).running()) for one in (first, second)]
        stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        for path in ("/v1/predict", "/v1/models/a.b/predict", "/v2/models/a/versions/1/infer", "/v2/models/a/infer"):
            found = _asked(port, path, servers)
            assert len(found) in (2, 3), f"{path}: {found}"
            assert all(server.asked for server in servers), f"{path} must be asked of both"
            assert set(found) == {"mine-1"}
        for path in ("/v1/jobs", "/v1/feedback", "/v1/models/a/predict/more", "/x/v1/predict"):
            assert _asked(port, path, servers) == ["mine-1"], path
        _check_edges(port, servers, front)


def _asked(port: int, path: str, servers: list[Broken]) -> list[str]:
    """Request ids that came to the servers, after one POST."""
    for server in servers:
        server.asked.clear()
    assert post(port, path, {"X-Request-ID": "mine-1"}) == 502
    return [one for server in servers for one in server.asked]


def _check_edges(port: int, servers: list[Broken], front: Front) -> None:
    """Sizes, request ids, and the figures."""
    for server in servers:
        server.asked.clear()
    assert post(port, "/v1/predict", size=front.max_body_bytes + 1) == 413
    assert not any(server.asked for server in servers)
    assert post(port, "/v1/predict", {"X-Request-ID": "bad id; {}"}) == 502
    (made,) = {one for server in servers for one in server.asked}
    assert " " not in made
    assert len(made) >= 32
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize("proxy", PROXIES)
def test_one_client_is_limited(proxy: str, bundle: Path, tmp_path: Path) -> None:
    program(proxy)
    first, port = free_ports(2)
    config, _ = configured(proxy, tmp_path, [first], port, rate_per_s=1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Broken(first).running())
        stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        statuses = [post(port, "/v1/predict") for _ in range(16)]
    assert statuses[0] == 502
    assert statuses[-1] == 429


def test_plain_http_is_sent_on(tmp_path: Path) -> None:
    for proxy in PROXIES:
        program(proxy)
        cert, _ = certificate(tmp_path)
        port, plain, first = free_ports(3)
        tls = {"tls": True, "certificate": str(cert), "certificate_key": f"{cert}.key", "plain_port": plain}
        config, _ = configured(proxy, tmp_path, [first], port, **tls)
        with process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"):
            wait_for(lambda port=plain: listens(port), proxy, tmp_path / "proxy.log")
            connection = http.client.HTTPConnection("localhost", plain, timeout=20)
            connection.request("GET", "/v1/model?a=b")
            response = connection.getresponse()
            assert response.status == 308
            assert response.headers["location"] == f"https://localhost:{port}/v1/model?a=b"
            connection.close()


def test_servers_are_places() -> None:
    for wrong in ("nowhere", "a:b", "a:80; evil", ""):
        with pytest.raises(ValidationError, match="host:port"):
            ProxyConfig(servers=(wrong,))
    with pytest.raises(ValidationError, match="at least one"):
        ProxyConfig(servers=())
    with pytest.raises(ValidationError, match="as many"):
        ProxyConfig(servers=("a:1", "b:2"), grpc_servers=("a:3",))


def test_limits_are_those_of_the_server() -> None:
    deployment = plan(ServeConfig(max_body_bytes=12345, head_timeout_s=2.5, drain_s=9))
    config, variables = Proxy().files(deployment)
    assert "client_max_body_size 12345;" in config.text
    assert "client_header_timeout 3s;" in config.text
    assert "LUBAN__SERVE__DRAIN_S=9" in variables.text


def test_tls_ends_at_the_proxy() -> None:
    tls = TlsConfig(cert=Path("cert.pem"), key=Path("key.pem"))
    for target in (Proxy(), Vm(), Compose()):
        with pytest.raises(ConfigError, match=r"serve\.tls"):
            target.files(plan(ServeConfig(tls=tls)))


@pytest.mark.parametrize("proxy", PROXIES)
def test_files_for_jobs_may_be_larger(proxy: str, tmp_path: Path) -> None:
    program(proxy)
    first, second, port = free_ports(3)
    limits = {"max_body_bytes": 5_000, "max_file_bytes": 50_000}
    config, _ = configured(proxy, tmp_path, [first, second], port, **limits)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Broken(one).running()) for one in (first, second)]
        stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        assert post(port, "/v1/jobs", size=49_000) == 502
        assert sum(len(server.asked) for server in servers) == 1
        assert post(port, "/v1/jobs", size=51_000) == 413
        assert post(port, "/v1/predict", size=5_001) == 413
