"""The description is valid, its examples are valid by it, and it tells what really happens."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.http.openapi import openapi, summary_of
from luban.serve.server import application

from ..conftest import FakeBundle, HandOrigin

validator = pytest.importorskip("openapi_spec_validator")
Draft202012Validator = pytest.importorskip("jsonschema").Draft202012Validator


def check(document: dict[str, Any], schema: str, value: Any) -> None:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    Draft202012Validator(whole).validate(value)


def check_response(document: dict[str, Any], response: httpx.Response) -> None:
    """A response to GET is as its path says."""
    said = document["paths"][response.request.url.path]["get"]["responses"][str(response.status_code)]
    schema = said["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(response.json())


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_valid_and_names_the_bundle(document: dict[str, Any]) -> None:
    validator.validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "reviews"
    assert set(document["components"]["schemas"]["Row"]["properties"]) == {"text", "stars", "label"}
    assert document["components"]["schemas"]["Row"]["properties"]["stars"]["type"][0] == "number"
    assert list(document["components"]["schemas"]["Options"]["properties"]) == ["threshold", "style"]
    assert "securitySchemes" not in document["components"]


def test_its_examples_are_what_happens(client: httpx.Client, document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]["example"]
    expected = operation["responses"]["200"]["content"]["application/json"]["example"]
    check(document, "Request", request)
    check(document, "Response", expected)
    found = client.post("/v1/predict", json=request).json()
    assert {**found, "request_id": ""} == {**expected, "request_id": ""}


def test_what_comes_back_fits(client: httpx.Client, document: dict[str, Any]) -> None:
    rows = [{"text": "a"}, {"text": "bad"}, {"tex": 1}, 5]
    check(document, "Response", client.post("/v1/predict", json={"rows": rows, "options": None}).json())
    for path in ("/ready", "/health", "/v1/model"):
        check_response(document, client.get(path))
    for response in (
        client.post("/v1/predict"),
        client.post("/v1/predict", json={}),
        client.post("/v1/predict", json={"rows": [{"text": "explode"}]}),
        client.get("/none"),
    ):
        check(document, "Problem", response.json())


def test_all_examples_are_as_described(document: dict[str, Any]) -> None:
    seen = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in part.get("content", {}).values():
                    if "example" in content:
                        whole = {**content["schema"], "components": document["components"]}
                        Draft202012Validator(whole).validate(content["example"])
                        seen += 1
    assert seen >= 6


def test_examples_of_requests_are_answered(client: httpx.Client, document: dict[str, Any]) -> None:
    for path in ("/v1/predict", "/v2/models/{model}/infer"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path.replace("{model}", "reviews"), json=example).status_code == 200


def test_every_route_is_described(origin: HandOrigin, bundle: FakeBundle, config: ServeConfig) -> None:
    with application(origin, config, {"LUBAN_API_KEY": "k" * 20}) as app:
        routes, served = app.router.routes, app.desk.fleet.live().now
        assert served is not None
        document = openapi(served, routes, ["reviews"], True)
    validator.validate(document)
    assert {(route.method.lower(), route.path) for route in routes} == {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    assert not [route.path for route in routes if not summary_of(route)], "a handler needs a docstring, or a describe"
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


class TestWithAKey:
    @pytest.fixture
    def environment(self) -> dict[str, str]:
        return {"LUBAN_API_KEY": "0123456789abcdef"}

    def test_says_how_to_send_it(self, client: httpx.Client) -> None:
        document = client.get("/openapi.json", headers={"x-api-key": "0123456789abcdef"}).json()
        validator.validate(document)
        assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
        assert "401" in document["paths"]["/v1/predict"]["post"]["responses"]
        assert "security" not in document["paths"]["/health"]["get"]
