from __future__ import annotations

import getpass

import pytest

from luban.errors import ConfigError, Denied
from luban.policy.rules import Actor, Role, allow


def test_every_local_actor_may_do_everything() -> None:
    for verb in ("release", "promote", "rollback", "erase"):
        allow(Actor("ada"), verb, "model reviews")
    allow(Actor("ada"), "release", "model reviews", force=True, reason="the customer waits")


@pytest.mark.parametrize("reason", ["", "  "])
def test_force_needs_a_reason(reason: str) -> None:
    with pytest.raises(Denied, match="ada may not release model reviews: force needs a reason") as caught:
        allow(Actor("ada"), "release", "model reviews", force=True, reason=reason)
    assert "--force" in caught.value.hint


def test_the_actor_is_named_by_the_environment_or_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUBAN_ACTOR", "鲁班")
    assert str(Actor.current()) == "鲁班"
    monkeypatch.delenv("LUBAN_ACTOR")
    assert Actor.current() == Actor(getpass.getuser())


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("LUBAN_ACTOR", raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Actor.current().name.startswith("user ")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, "\x1b[31m"])
def test_a_name_must_be_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LUBAN_ACTOR", name)
    with pytest.raises(ConfigError, match="`actor` must be a name"):
        Actor.current()


@pytest.mark.parametrize(
    ("role", "verb", "may"),
    [
        ("viewer", "promote", False),
        ("caller", "rollback", False),
        ("operator", "promote", True),
        ("operator", "create", False),
        ("admin", "revoke", True),
    ],
)
def test_a_change_takes_a_role(role: Role, verb: str, may: bool) -> None:
    if may:
        allow(Actor("ada", role), verb, "key x")
        return
    with pytest.raises(Denied, match=f"ada may not {verb} key x: that takes the role"):
        allow(Actor("ada", role), verb, "key x")
