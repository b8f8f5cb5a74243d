"""The open inference protocol over gRPC, by the public client of Triton and by messages of our own .proto file."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from luban.errors import ServeError
from luban.serve.config import ServeConfig
from luban.serve.http.tls import TlsConfig
from luban.serve.inference.grpc_config import GrpcConfig
from luban.serve.inference.proto import messages
from luban.serve.server import serve, serving
from ports import free_port
from waiting import BOUND_S, until

from ..conftest import FakeBundle, HandOrigin
from ..http.test_tls import Authority

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")
KEY = "0123456789abcdef"


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig(port=0, poll_s=0.02, max_body_bytes=100_000, grpc=GrpcConfig(port=free_port()))


@pytest.fixture
def asking(client: httpx.Client, config: ServeConfig) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{config.grpc.port}") as made:
        yield made


@pytest.fixture
def channel(client: httpx.Client, config: ServeConfig) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{config.grpc.port}") as made:
        yield made


def call(channel: Any, name: str, **fields: Any) -> Any:
    """A call with messages of our own file; `timeout` and `metadata` are the call's."""
    made = messages("open_inference.proto")
    more = {key: fields.pop(key) for key in ("timeout", "metadata") if key in fields}
    method = channel.unary_unary(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=made[f"{name}Request"].SerializeToString,
        response_deserializer=made[f"{name}Response"].FromString,
    )
    return method(made[f"{name}Request"](**fields), **{"timeout": 10, **more})


def text(values: list[str], name: str = "text") -> dict[str, Any]:
    contents = {"bytes_contents": [value.encode() for value in values]}
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "contents": contents}


def refused(channel: Any, code: str, name: str = "ModelInfer", **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, name, **fields)
    assert caught.value.code().name == code, caught.value.details()
    return str(caught.value.details())


def test_the_messages_are_the_published_ones() -> None:
    """Field by field as in the modules that the public client was generated with."""
    pool = triton.service_pb2.DESCRIPTOR.pool

    def fields(descriptor: Any) -> dict[str, tuple[Any, ...]]:
        return {
            one.name: (one.number, one.type, one.is_repeated, one.message_type and one.message_type.full_name)
            for one in descriptor.fields
        }

    for name, made in messages("open_inference.proto").items():
        assert fields(made.DESCRIPTOR) == fields(pool.FindMessageTypeByName(f"inference.{name}")), name


def test_what_is_there(asking: Any) -> None:
    assert asking.is_server_live()
    assert asking.is_server_ready()
    assert asking.is_model_ready("reviews")
    assert not asking.is_model_ready("none")
    assert asking.get_server_metadata().name == "luban"
    found = asking.get_model_metadata("reviews", "1")
    assert [(one.name, one.datatype) for one in found.inputs] == [("text", "BYTES"), ("stars", "FP64")]


def test_the_public_client_asks(asking: Any) -> None:
    values = triton.InferInput("text", [3, 1], "BYTES")
    values.set_data_from_numpy(np.array([["房间很干净，下次还会再来"], ["short"], ["bad"]], object))
    stars = triton.InferInput("stars", [3], "FP32")
    stars.set_data_from_numpy(np.array([1, np.nan, 2], np.float32))
    found = asking.infer("reviews", [values, stars], request_id="7", parameters={"threshold": "0.3"}, client_timeout=10)
    assert found.get_response().id == "7"
    assert [value.decode() for value in found.as_numpy("label")] == ["long", "short", ""]
    assert found.as_numpy("confidence")[:2].tolist() == [0.75, 0.75]
    assert np.isnan(found.as_numpy("confidence")[2])
    assert found.as_numpy("error")[2] == b"text: is bad"
    named = asking.infer("reviews", [values], outputs=[triton.InferRequestedOutput("label")])
    assert [one.name for one in named.get_response().outputs] == ["label"]


def test_contents_in_place_of_raw_bytes(channel: Any) -> None:
    stars = {"name": "stars", "datatype": "INT32", "shape": [2, 1], "contents": {"int_contents": [1, 2]}}
    found = call(channel, "ModelInfer", model_name="reviews", inputs=[text(["short", "a longer text"]), stars])
    assert found.raw_output_contents[0] == b"\x05\x00\x00\x00short\x04\x00\x00\x00long"
    assert found.model_version == "1"
    assert found.parameters["identity"].string_param == "a" * 64


def test_what_is_wrong_has_its_status(channel: Any) -> None:
    wrong = {"code": "INVALID_ARGUMENT", "model_name": "reviews"}
    assert "at least one tensor" in refused(channel, **wrong)
    assert "must have 3 values" in refused(channel, **wrong, inputs=[{**text(["a"]), "shape": [3]}])
    assert "must be one of BOOL" in refused(channel, **wrong, inputs=[{**text(["a"]), "datatype": "BF16"}])
    not_text = {**text([]), "shape": [1], "contents": {"bytes_contents": [b"\xff"]}}
    assert "is not UTF-8" in refused(channel, **wrong, inputs=[not_text])
    assert "one entry an input" in refused(channel, **wrong, inputs=[text(["a"])], raw_input_contents=[b"", b""])
    assert "end within a text" in refused(
        channel, **wrong, inputs=[text(["a"])], raw_input_contents=[b"\x09\x00\x00\x00a"]
    )
    option = {"threshold": {"double_param": 2}}
    assert "less than or equal to 1" in refused(channel, **wrong, inputs=[text(["a"])], parameters=option)
    assert "no model `none`" in refused(channel, "NOT_FOUND", model_name="none", inputs=[text(["a"])])
    assert refused(channel, "NOT_FOUND", model_name="reviews", model_version="x", inputs=[text(["a"])])
    large = refused(channel, "RESOURCE_EXHAUSTED", model_name="reviews", inputs=[text(["x" * 400_000])])
    assert "larger than max" in large
    inside = refused(channel, "INTERNAL", model_name="reviews", inputs=[text(["explode"])])
    assert "secret" not in inside
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/RepositoryIndex")(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_is_honoured(channel: Any, client: httpx.Client, bundle: FakeBundle) -> None:
    """Who waits no longer is told so, although the model hangs; afterwards the server answers as before."""
    rows = ["wait"] + ["a"] * 20
    refused(channel, "DEADLINE_EXCEEDED", model_name="reviews", inputs=[text(rows)], timeout=0.3)
    route = 'route="/inference.GRPCInferenceService/ModelInfer",status='
    until(lambda: any(f'{route}"{status}"' in client.get("/metrics").text for status in (499, 504)))
    bundle.go_on.set()
    assert call(channel, "ModelInfer", model_name="reviews", inputs=[text(["a"])]).model_name == "reviews"


def test_calls_are_counted(channel: Any, client: httpx.Client) -> None:
    call(channel, "ServerLive")
    assert "/inference.GRPCInferenceService/ServerLive" in client.get("/metrics").text


def test_a_taken_port_ends_the_start(origin: HandOrigin, bundle: FakeBundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        grpc_config = GrpcConfig(port=taken.getsockname()[1])
        with pytest.raises(ServeError, match="for gRPC"):
            serve(origin, ServeConfig(port=0, grpc=grpc_config), lambda address: None, {})


@pytest.mark.usefixtures("channel")
def test_two_servers_do_not_share_a_port(config: ServeConfig, origin: HandOrigin, bundle: FakeBundle) -> None:
    """By default the library lets them (SO_REUSEPORT), and each would get half of the other's calls."""
    with pytest.raises(ServeError, match="for gRPC"):
        serve(origin, config, lambda address: None, {})


class TestWithAKey:
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {"LUBAN_API_KEY": KEY}

    def test_it_comes_as_metadata(self, channel: Any) -> None:
        asked = {"model_name": "reviews", "inputs": [text(["a"])]}
        assert call(channel, "ServerReady").ready
        assert refused(channel, "UNAUTHENTICATED", **asked)
        assert refused(channel, "UNAUTHENTICATED", **asked, metadata=[("x-api-key", "wrong-wrong-wrong")])
        for metadata in ([("authorization", f"Bearer {KEY}")], [("x-api-key", KEY)]):
            assert call(channel, "ModelInfer", **asked, metadata=metadata).model_name == "reviews"

    def test_a_message_is_not_read_before_its_caller_is_let_in(self, channel: Any) -> None:
        """Or whoever reaches the port could fill the memory with large ones."""
        has_answered = threading.Event()

        def pieces() -> Iterator[Any]:
            assert has_answered.wait(BOUND_S), "the server waits for a message"
            yield b""

        asked = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            asked(pieces(), timeout=BOUND_S / 2)
        has_answered.set()
        assert caught.value.code().name == "UNAUTHENTICATED"
        with pytest.raises(grpc.RpcError) as caught:
            asked(iter(()), timeout=10, metadata=[("x-api-key", KEY)])
        assert caught.value.code().name == "INVALID_ARGUMENT"
        assert call(channel, "ServerLive").live

    def test_a_key_that_comes_twice_is_none(self, channel: Any) -> None:
        twice = [("x-api-key", "another"), ("x-api-key", KEY)]
        refused(channel, "UNAUTHENTICATED", model_name="reviews", metadata=twice)


@pytest.mark.parametrize(
    "config",
    [ServeConfig(port=0, max_connections=8, body_timeout_s=0.3, grpc=GrpcConfig(port=free_port()))],
    ids=["bounded"],
)
def test_slow_messages_and_too_many_connections(config: ServeConfig, channel: Any) -> None:
    def nothing() -> Iterator[bytes]:
        threading.Event().wait(5)
        yield b""

    asked = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        asked(nothing(), timeout=10)
    assert (caught.value.code().name, dict(caught.value.trailing_metadata())["luban-problem"]) == (
        "DEADLINE_EXCEEDED",
        "too-slow",
    )
    many = [socket.create_connection(("127.0.0.1", config.grpc.port or 0), timeout=10) for _ in range(12)]
    with contextlib.suppress(ConnectionResetError):
        while many[-1].recv(1000):
            pass
    for one in many:
        one.close()
    until(lambda: bool(call(channel, "ServerLive").live))


class TestTls:
    """The same certificate as HTTPS; a client must show its own."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path, "authority")

    @pytest.fixture
    def config(self, config: ServeConfig, authority: Authority) -> ServeConfig:
        cert, key = authority.make("server")
        return config.model_copy(update={"tls": TlsConfig(cert=cert, key=key, client_ca=authority.path)})

    def test_it_takes_both_certificates(
        self, origin: HandOrigin, bundle: FakeBundle, config: ServeConfig, authority: Authority
    ) -> None:
        cert, key = authority.make("client")
        own = {"private_key": key.read_bytes(), "certificate_chain": cert.read_bytes()}
        at = f"127.0.0.1:{config.grpc.port}"

        def live(channel: Any) -> bool:
            with channel:
                return bool(call(channel, "ServerLive", timeout=5).live)

        with serving(origin, config, {}):
            known = grpc.ssl_channel_credentials(authority.path.read_bytes(), **own)
            assert live(grpc.secure_channel(at, known))
            stranger = grpc.ssl_channel_credentials(authority.path.read_bytes())
            for channel in (grpc.insecure_channel(at), grpc.secure_channel(at, stranger)):
                with pytest.raises(grpc.RpcError):
                    live(channel)
            authority.make("server")  # renewed, without a restart
            assert live(grpc.secure_channel(at, known))
