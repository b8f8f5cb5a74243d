"""Which models a server is given: those that are named and known; a name that nothing has ends the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from luban.errors import ReleaseError
from luban.serve.config import ServeConfig
from luban.serve.fleet.roster import roster
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

from ..deploying import House


def names(home: Home, own: str = "reviews", **settings: object) -> list[str]:
    return [origin.name for origin in roster(own, ServeConfig.model_validate(settings), home).first]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """`reviews` with version 1, the champion."""
    found = House(tmp_path_factory.mktemp("house"))
    found.release()
    return found


def test_a_model_that_is_not_there_is_refused_where_there_are_others(house: House) -> None:
    with pytest.raises(ReleaseError, match="no released model `reveiws`") as caught:
        names(house.home, models=["reveiws"])
    assert caught.value.hint == "Did you mean `reviews`? Released: reviews."
    with pytest.raises(ReleaseError, match="no released model `rooms`"):
        names(house.home, models=["reviews", "rooms"])


@pytest.mark.parametrize("models", ["own", "all", ["reviews"]])
@pytest.mark.parametrize("alias", ["chmpion", "7"])
def test_an_alias_that_nothing_has_is_refused(house: House, models: object, alias: str) -> None:
    with pytest.raises(ReleaseError, match=f"no version or alias `{alias}`") as caught:
        names(house.home, models=models, alias=alias)
    assert caught.value.hint == "Versions: 1. Aliases: champion."


@pytest.mark.parametrize("alias", ["champion", "challenger", "previous", "1"])
def test_aliases_that_are_there_or_may_come(house: House, alias: str) -> None:
    assert names(house.home, alias=alias) == ["reviews"]


def test_the_project_s_own_first_release_is_waited_for(house: House) -> None:
    assert names(house.home, own="rooms") == ["rooms"]
    assert names(house.home, own="rooms", models=["rooms", "reviews"]) == ["rooms", "reviews"]
    assert names(house.home, own="rooms", models="all") == ["rooms", "reviews"]


def test_where_nothing_is_released_all_are_waited_for(tmp_path: Path) -> None:
    home = Home(Store(tmp_path / "store"), Ledger(tmp_path / "ledger.db"))
    assert names(home, models=["a", "b"], alias="later") == ["a", "b"]


def test_the_command_ends_with_the_error(house: House) -> None:
    command = [
        sys.executable,
        "-m",
        "luban",
        "serve",
        "--project",
        str(house.folder),
        "--port",
        "0",
        "--model",
        "reveiws",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "There is no released model `reveiws`" in done.stderr
    assert "Did you mean `reviews`? Released: reviews." in done.stderr
    assert done.stdout == ""
