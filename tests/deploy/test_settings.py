"""Settings of the server on their way to servers: as variables, whole, and without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from luban.catalog import Config
from luban.deploy.base import _SECRET, Deployment
from luban.errors import ConfigError
from luban.project import server_settings, settings_from
from luban.serve.config import ServeConfig

from .plans import plan

WHOLE: list[dict[str, Any]] = [
    {},
    {"max_rows": 5, "alias": "no", "drain_s": 1.5, "open_metrics": True},
    {"alias": "a 'b' \"c\" $d {e} #f: g, 'h' \\ \n 1"},
    {"alias": "1.5"},
    {"alias": "~"},
    {"alias": "日本"},
    {"models": ["a", "b-c"]},
    {"models": "all"},
    {"limits": {"requests": {"rate_per_s": 3}, "rows": {"rate_per_s": 2.5, "kind": "leaky"}, "target_ms": None}},
    {"limits": {"redis": {"url": "redis://cache:6379/0"}}},
    {"auth": {"oidc": {"issuer": "https://id.example.org", "audience": "a", "roles": {"Admin Role": "admin"}}}},
    {"tls": {"cert": "/etc/cert.pem", "key": "/etc/key.pem"}},
    {"grpc": {"port": 9000}},
]


def back(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> ServeConfig:
    """What `luban serve --bundle` reads of a deployment's variables."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    try:
        return server_settings()
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize("given_settings", WHOLE)
def test_they_come_back_as_they_were(given_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServeConfig.model_validate(given_settings)
    assert back(plan(config), monkeypatch) == config


@settings(max_examples=200, deadline=None)
@given(alias=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_any_text_comes_back(alias: str) -> None:
    (setting,) = settings_from(plan(ServeConfig(alias=alias)).environment) or [""]
    with pytest.MonkeyPatch.context() as patch:
        assert back(plan(ServeConfig(alias=alias)), patch).alias == alias
    assert alias == "champion" or setting.startswith("serve.alias=")


def test_optional_settings_that_are_all_defaults_are_told() -> None:
    class Inner(Config):
        """Nothing is required."""

        number: int = 1

    class Outer(ServeConfig):
        """With an optional part."""

        inner: Inner | None = None

    assert plan(Outer(inner=Inner())).environment == {"LUBAN__SERVE__INNER": "{}"}
    assert plan(Outer(inner=Inner(number=2))).environment == {"LUBAN__SERVE__INNER__NUMBER": "2"}


@pytest.mark.parametrize(
    "url", ["redis://:word@cache:6379/0", "redis://user:word@cache/0", "rediss://:p%40ss@cache.example.org:6380/1"]
)
def test_passwords_in_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.limits\.redis\.url"):
        _ = plan(ServeConfig.model_validate({"limits": {"redis": {"url": url}}})).environment


def test_secrets_by_name_or_type_are_refused() -> None:
    class Named(ServeConfig):
        """Settings with secrets."""

        client_secret: str = ""
        other: SecretStr = SecretStr("")

    for wrong in ({"client_secret": "hush"}, {"other": "hush"}):
        with pytest.raises(ConfigError, match="secret") as caught:
            _ = plan(Named.model_validate(wrong)).environment
        assert "hush" not in str(caught.value)


def names(config: type[Config]) -> Iterator[str]:
    for name, info in config.model_fields.items():
        yield name
        for inner in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Config):
                yield from names(inner)


def test_no_setting_of_today_is_taken_for_a_secret() -> None:
    assert [name for name in names(ServeConfig) if _SECRET.search(name)] == []
