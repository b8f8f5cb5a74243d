"""Forms with files: one row, several rows, what is refused, limits, and hostile bytes."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.serve.http.forms import Part, _parts, read_form
from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY, Entry
from waiting import until

from ..kept import ask, server
from ..pictured import DARK, LIGHT, b64, pictured, png

PATH = "/v1/predict"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = pictured(tmp_path_factory.mktemp("pictured"))
    rows = {"max_pixels": 40_000, "max_cell_bytes": 400}
    with server(home, max_parts=12, rows=rows, max_body_bytes=300_000, records={"rows": True}) as client:
        client.ledger = home.ledger  # type: ignore[attr-defined]
        yield client
    home.ledger.close()


def labels(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    return [answer.get("label", answer.get("error")) for answer in response.json()["answers"]]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    return found


def test_one_row(api: httpx.Client) -> None:
    assert labels(api.post(PATH, files={"image": ("a.png", LIGHT)}, data={"stars": "4"})) == ["good"]
    assert labels(api.post(PATH, files={"image": ("a.png", DARK, "image/png")})) == ["bad"]
    assert labels(api.post("/v1/models/reviews/predict", files={"image": ("x", LIGHT)})) == ["good"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF"])
def test_other_files(api: httpx.Client, kind: str) -> None:
    assert labels(api.post(PATH, files={"image": ("x", png(230, kind=kind))})) == ["good"]


def test_the_same_answers_as_json(api: httpx.Client) -> None:
    form = api.post(PATH, files={"image": ("a.png", LIGHT)}, data={"stars": "4"}).json()["answers"]
    assert ask(api, [{"image": b64(LIGHT), "stars": 4}])["answers"] == form
    assert ask(api, [{"image": f"data:image/png;base64,{b64(LIGHT)}", "stars": "4"}])["answers"] == form


def test_several_rows(api: httpx.Client) -> None:
    rows = [{"image": {"file": "a"}}, {"image": {"file": "b"}, "stars": 3}, {"image": {"file": "a"}}, {"image": "?"}]
    found = labels(api.post(PATH, files={"a": ("1.png", LIGHT), "b": ("2.png", DARK)}, data={"rows": json.dumps(rows)}))
    assert found[:3] == ["good", "bad", "good"]
    assert found[3] == "image: is neither base64 nor a data URI of a picture"


def test_rows_that_name_one_file_hold_it_once() -> None:
    """Or a body of some megabytes would unfold to as many times that as it has rows."""
    rows = [{"image": {"file": "a"}}] * 1000
    edge = b"--x\r\ncontent-disposition: form-data; "
    parts = [b'name="rows"\r\n\r\n' + json.dumps(rows).encode(), b'name="a"; filename="a"\r\n\r\n' + LIGHT]
    body = b"".join(edge + part + b"\r\n" for part in parts) + b"--x--\r\n"
    question = read_form("multipart/form-data; boundary=x", body, Entry(ANYBODY, "reviews", "1"), 1000, 12)
    assert question.rows[0] == {"image": LIGHT}
    assert len({id(row["image"]) for row in question.rows}) == 1


def test_options_and_reasons(api: httpx.Client) -> None:
    more = {"options": '{"threshold": 0.999999}', "explain": "true"}
    answer = api.post(PATH, files={"image": ("a.png", LIGHT)}, data=more)
    assert labels(answer) == ["bad"]
    told = api.post(PATH, files={"image": ("a.png", LIGHT)}, data={"options": '{"treshold": 1}'})
    assert "threshold" in problem(told, 422)["todo"]


def test_a_bad_file_is_an_error_of_its_row(api: httpx.Client) -> None:
    assert labels(api.post(PATH, files={"image": ("a.png", b"GIF89a")})) == ["image: is no PNG, JPEG, WebP, BMP or GIF"]
    assert labels(api.post(PATH, files={"image": ("a.png", LIGHT[:-30])}))[0].startswith("image: is damaged")
    assert "did you mean `image`" in labels(api.post(PATH, files={"imge": ("a.png", LIGHT)}))[0]
    assert labels(api.post(PATH, files={"note": ("a.txt", b"hello")}, data={"stars": "3"})) == [
        "note: is a bytes, not text"
    ]


@pytest.mark.parametrize(
    ("files", "data", "says"),
    [
        ({}, {"rows": "[{]"}, "not JSON"),
        ({}, {"rows": "{}"}, "must be a JSON list"),
        ({}, {"rows": '[{"image": {"file": "a"}}]'}, "no file part `a`"),
        ({"a": ("1", LIGHT)}, {"rows": '[{"stars": 1}]'}, "No row names the part `a`"),
        ({"image": ("1", LIGHT)}, {"explain": "perhaps"}, "must be true or false"),
    ],
)
def test_wrong_forms(api: httpx.Client, files: Any, data: dict[str, str], says: str) -> None:
    files = files or {"": ("", b"")}
    if "" in files:
        body, head = _form(*[(name, None, text.encode()) for name, text in data.items()])
        response = api.post(PATH, content=body, headers=head)
    else:
        response = api.post(PATH, files=files, data=data)
    assert response.status_code in (400, 422)
    assert says in response.json()["detail"]


def _form(*parts: tuple[str, str | None, bytes], boundary: str = "b0") -> tuple[bytes, dict[str, str]]:
    pieces = []
    for name, file, data in parts:
        filename = "" if file is None else f'; filename="{file}"'
        pieces.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + data + b"\r\n"
        )
    head = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return b"".join(pieces) + f"--{boundary}--\r\n".encode(), head


def test_damaged_forms(api: httpx.Client) -> None:
    body, head = _form(("image", "a.png", LIGHT))
    for cut, says in ((len(body) - 5, "ends within a part"), (30, "ends within a part"), (0, "ends within a part")):
        assert says in problem(api.post(PATH, content=body[:cut], headers=head), 422)["detail"]
    assert "damaged" in problem(api.post(PATH, content=b"x" + body, headers=head), 422)["detail"]
    no_boundary = {"content-type": "multipart/form-data"}
    assert "boundary" in problem(api.post(PATH, content=body, headers=no_boundary), 422)["detail"]
    twice, head = _form(("image", "a", LIGHT), ("image", "b", DARK))
    assert "stands twice" in problem(api.post(PATH, content=twice, headers=head), 422)["detail"]
    nameless = body.replace(b'name="image"; ', b"")
    assert "a name of" in problem(api.post(PATH, content=nameless, headers=head), 422)["detail"]
    packed = body.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1)
    assert "transfer encoding" in problem(api.post(PATH, content=packed, headers=head), 422)["detail"]
    not_text, head = _form(("stars", None, b"\xff\xfe"))
    assert "not UTF-8 at byte 0" in problem(api.post(PATH, content=not_text, headers=head), 422)["detail"]


def test_limits(api: httpx.Client) -> None:
    many, head = _form(*[(f"p{i}", "x", b"") for i in range(13)])
    assert "at most 12 parts" in problem(api.post(PATH, content=many, headers=head), 413)["detail"]
    large, head = _form(("image", "x", bytes(400_000)))
    assert problem(api.post(PATH, content=large, headers=head), 413)["max_bytes"] == 300_000
    long_head, head = _form(("image", "x" * 5000, LIGHT))
    assert "damaged" in problem(api.post(PATH, content=long_head, headers=head), 422)["detail"]
    heads = b"".join(b"X-%d: y\r\n" % i for i in range(20))
    body, head = _form(("image", "x", LIGHT))
    body = body.replace(b"\r\n\r\n", b"\r\n" + heads + b"\r\n", 1)
    assert "damaged" in problem(api.post(PATH, content=body, headers=head), 422)["detail"]


def test_pixels_are_counted_before_anything_is_decoded(api: httpx.Client) -> None:
    wide = png(230, 300, 150)
    for send in (
        lambda: api.post(PATH, files={"image": ("a.png", wide)}),
        lambda: api.post(PATH, json={"rows": [{"image": b64(wide)}]}),
        lambda: api.post(PATH, json={"rows": [{"image": b64(png(1, 150, 100))}] * 3}),
    ):
        found = problem(send(), 413)
        assert found["type"].endswith("too-many-pixels")
        assert found["max_pixels"] == 40_000
    assert labels(api.post(PATH, files={"image": ("a.png", png(230, 200, 190))})) == ["good"]


def test_a_file_may_be_larger_than_a_cell(api: httpx.Client) -> None:
    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(150, 256, (40, 40, 3)).astype(np.uint8)).save(out, "PNG")
    assert len(out.getvalue()) > 1000
    assert labels(api.post(PATH, files={"image": ("a.png", out.getvalue())})) == ["good"]
    assert "more than the 400" in labels(api.post(PATH, json={"rows": [{"note": "x" * 1000}]}))[0]


def test_a_form_of_a_foreign_page_is_refused(api: httpx.Client) -> None:
    files = {"image": ("a.png", LIGHT)}
    for origin in ("https://evil.example", "null"):
        assert problem(api.post(PATH, files=files, headers={"origin": origin}), 403)
    own = str(api.base_url).rstrip("/")
    assert labels(api.post(PATH, files=files, headers={"origin": own})) == ["good"]
    packed = api.post(PATH, files=files, headers={"content-encoding": "gzip"})
    assert "must not be encoded" in problem(packed, 415)["detail"]


def test_other_paths_take_no_forms(api: httpx.Client) -> None:
    assert problem(api.post("/v1/feedback", files={"image": ("a", LIGHT)}), 415)


def test_other_columns_are_marked_without_decoding_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from luban.bundle.bundle import Bundle
    from luban.serve.guards.outside import Bounds

    from ..pictured import write_pictured

    write_pictured(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    monkeypatch.setattr("luban.features.image_vector.decoded", lambda *given: pytest.fail("decoded on the event loop"))
    stars = {"missing": False, "range": [1, 5]}
    bounds = Bounds(bundle, {"image": {"missing": False}, "stars": stars})
    assert bounds.outside({"image": LIGHT, "stars": 9.0}) == ["stars: 9 is above 5, the largest in training"]
    assert bounds.outside({"image": LIGHT}) == ["stars: is missing, as it never was in training"]
    assert bounds.outside({"image": LIGHT, "stars": 3.0}) == []


def test_records_keep_files_as_text(api: httpx.Client) -> None:
    from sqlalchemy import select

    from luban.store.tables import answers

    api.post(PATH, files={"image": ("a.png", LIGHT)}, headers={"x-request-id": "kept-1"})

    def row() -> Any:
        with api.ledger.reading() as tx:  # type: ignore[attr-defined]
            return tx.scalar(select(answers.c.row).where(answers.c.request_id == "kept-1"))

    assert json.loads(until(row))["image"] == f"data:image/png;base64,{b64(LIGHT)}"


def test_both_ways_of_the_web_server(api: httpx.Client) -> None:
    """A form that comes whole, and one that comes in pieces."""
    body, head = _form(("image", "a.png", LIGHT), ("stars", None, b"3"))
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {head['content-type']}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    for step in (len(request), 97):
        with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=10) as connection:
            for start in range(0, len(request), step):
                connection.sendall(request[start : start + step])
            got = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert b"200 OK" in got
        assert b'"label":"good"' in got


ENTRY = Entry(ANYBODY, "reviews", "1")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_form_is_read_or_refused(data: st.DataObject) -> None:
    body, head = _form(("image", "a.png", LIGHT[:40]), ("rows", None, b'[{"image": {"file": "image"}}]'))
    whole = bytearray(body)
    del whole[data.draw(st.integers(0, len(whole))) :]
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(whole)))
        whole[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        question = read_form(head["content-type"], bytes(whole), ENTRY, 10, 5)
    except Problem as refused:
        assert refused.status in (400, 413, 422)  # noqa: PT017
    else:
        assert len(question.rows) <= 10


@given(st.lists(st.tuples(st.text("abcdefgh", min_size=1), st.binary(max_size=50)), max_size=6))
def test_parts_come_as_they_were_sent(parts: list[tuple[str, bytes]]) -> None:
    body, head = _form(*[(name, "f", data) for name, data in parts], boundary="a-boundary-that-nobody-has")
    if parts:
        found = _parts(head["content-type"], body, 10)
        assert [(part.name, bytes(part.data)) for part in found] == parts
        assert all(isinstance(part, Part) and part.is_file for part in found)
