"""What is tried, and in which order: the candidates of a training run before any is trained.

Decided here: the baseline is always first and votes always last; with `auto` families take turns with
their variants. Names no family but the baseline.
"""

from __future__ import annotations

from itertools import zip_longest

from luban.catalog import FAMILIES, Choice
from luban.errors import DataError
from luban.models.base import Family
from luban.train.candidate import Spec, reads_directly
from luban.train.config import TrainConfig
from luban.train.encode import TrainData


def specs(config: TrainConfig, data: TrainData) -> list[Spec]:
    """All candidates in the order in which they are tried: baseline, rounds of variants, votes."""
    if config.models != "auto":
        choices = list(config.models)
        rounds = [c for c in choices if not family_of(c).votes] + [c for c in choices if family_of(c).votes]
    else:
        rounds = _auto(data)
    rounds = [Choice("baseline", FAMILIES.resolve("baseline").Config()), *(c for c in rounds if c.kind != "baseline")]
    if len(rounds) == 1:
        raise DataError("`train.models` names no model.", "Write `auto`, or a list such as [linear, trees, vote].")
    counts: dict[str, int] = {}
    found = []
    for choice in rounds:
        counts[choice.kind] = counts.get(choice.kind, 0) + 1
        number = counts[choice.kind]
        found.append(Spec(choice.kind if number == 1 else f"{choice.kind}-{number}", choice))
    return found


def family_of(choice: Choice) -> Family:
    """The family that a choice names, with its settings."""
    family: Family = FAMILIES.resolve(choice.kind)(choice.config)
    return family


def _auto(data: TrainData) -> list[Choice]:
    """Variants of all families in turn, each family's best expected first, votes last.

    Families that read no column but through a converter come after those that read one as it is.
    """
    rows = len(data.y("train"))
    kinds = frozenset(kind for _, feature in data.features for kind in feature.encoders)
    turns: dict[bool, list[list[Choice]]] = {True: [], False: []}
    votes: list[Choice] = []
    for name in FAMILIES.own():
        family: Family = FAMILIES.make(name)
        variants = [
            Choice(name, family.Config.model_validate(settings)) for settings in family.variants(rows, data.head, kinds)
        ]
        if family.votes:
            votes += variants
        else:
            turns[reads_directly(data, family)].append(variants)
    in_turn = (c for families in turns.values() for turn in zip_longest(*families) for c in turn if c is not None)
    return [*in_turn, *votes]
