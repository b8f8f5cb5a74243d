"""The checks of targets find what they look for."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from luban.catalog import TARGETS
from luban.checks import targets
from luban.deploy.base import Deployment, File, Target
from luban.deploy.container import Container
from luban.deploy.templates import header

COUNT = itertools.count()


def broken(change: Callable[[str], File]) -> type[Target]:
    """A target that is in order, but for one more file."""

    class Broken(Container):
        """The container, and a file too many."""

        def files(self, plan: Deployment) -> Sequence[File]:
            return [*super().files(plan), change(header("container", plan))]

    Broken.kind = "container"
    return Broken


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (targets.writes_below_its_folder, lambda top: File("../up", top + "\n")),
        (targets.writes_below_its_folder, lambda top: File("Dockerfile", top + "\n")),
        (targets.twice_is_the_same, lambda top: File("a", f"{top}\n{next(COUNT)}\n")),
        (targets.says_how_it_was_made, lambda top: File("a", "text\n")),
        (targets.says_how_it_was_made, lambda top: File("a", top)),
        (targets.says_how_it_was_made, lambda top: File("a", f"{top}\n\n\nb\n")),
        (targets.holds_no_path_of_this_machine, lambda top: File("a", f"{top}\n{sys.prefix}/bin\n")),
        (targets.holds_no_secret, lambda top: File("a", f"{top}\nPASSWORD={'correct' * 3}\n")),
    ],
)
def test_found(check: Callable[[Any], None], change: Callable[[str], File]) -> None:
    check(TARGETS.resolve("container"))
    with pytest.raises(AssertionError):
        check(broken(change))


def test_settings_that_are_not_handed_on() -> None:
    class Silent(Container):
        """The container without its Dockerfile."""

        def files(self, plan: Deployment) -> Sequence[File]:
            return [file for file in super().files(plan) if file.path != "Dockerfile"]

    with pytest.raises(AssertionError, match="MAX_ROWS"):
        targets.hands_settings_on(Silent)
