"""What is tried, and in which order: the candidates of a training run before any is trained.

Decided here: the baseline is always first and votes always last; with `auto` families take turns with
their variants. Names no family but the baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import zip_longest

from luban.catalog import FAMILIES, Choice, canonical
from luban.errors import DataError
from luban.models.base import Family
from luban.train.candidate import Spec, reads_directly
from luban.train.config import AUTO, TrainConfig
from luban.train.encode import TrainData

CONVERTED = "reads these columns only through a converter; name it in `train.models` to try it"
LACKING = 'needs {}; run: pip install "luban[{}]"'


def specs(config: TrainConfig, data: TrainData) -> list[Spec]:
    """All candidates in the order in which they are tried: baseline, rounds of variants, votes."""
    baseline = Choice("baseline", FAMILIES.resolve("baseline").Config())
    asked = [AUTO] if config.models == AUTO else config.models
    rounds = _once(
        each
        for entry in asked
        for each in ([(entry, "")] if isinstance(entry, Choice) else _auto(data, config.folds is not None))
    )
    rounds = [(baseline, ""), *((choice, skip) for choice, skip in rounds if choice.kind != "baseline")]
    if len(rounds) == 1:
        raise DataError("`train.models` names no model.", "Write `auto`, or a list such as [linear, trees, vote].")
    counts: Counter[str] = Counter()
    found = []
    for choice, skip in rounds:
        counts[choice.kind] += 1
        number = counts[choice.kind]
        found.append(Spec(choice.kind if number == 1 else f"{choice.kind}-{number}", choice, skip))
    return found


def _once(rounds: Iterable[tuple[Choice, str]]) -> list[tuple[Choice, str]]:
    """Every choice once, as it was first asked for; votes last."""
    found: dict[bytes, tuple[Choice, str]] = {}
    for choice, skip in rounds:
        found.setdefault(canonical(choice.identity()), (choice, skip))
    return sorted(found.values(), key=lambda each: family_of(each[0]).votes)


def family_of(choice: Choice) -> Family:
    """The family that a choice names, with its settings."""
    family: Family = FAMILIES.resolve(choice.kind)(choice.config)
    return family


def _auto(data: TrainData, folded: bool) -> list[tuple[Choice, str]]:
    """Variants of all families in turn, each family's best expected first, costly families after them, votes last; and
    why one is skipped.

    A family that reads every column through a converter is skipped where another reads one as it is: it
    takes the time of many for less (trees over texts, say).
    """
    rows = len(data.y("train"))
    kinds = frozenset(kind for _, feature in data.features for kind in feature.encoders)
    direct: list[list[Choice]] = []
    costly: list[Choice] = []
    converted: list[Choice] = []
    lacking: list[tuple[Choice, str]] = []
    votes: list[Choice] = []
    for name in FAMILIES.own():
        family: Family = FAMILIES.make(name)
        variants = [
            Choice(name, family.Config.model_validate(settings)) for settings in family.variants(rows, data.head, kinds)
        ]
        if missing := [library for library in family.requires if find_spec(library) is None]:
            lacking += [(variant, LACKING.format(missing[0], family.extra)) for variant in variants]
        elif family.votes:
            votes += variants if folded or not family.needs_folds else []
        elif reads_directly(data, family) and family.costly:
            costly += variants
        elif reads_directly(data, family):
            direct.append(variants)
        else:
            converted += variants
    in_turn = [*(choice for turn in zip_longest(*direct) for choice in turn if choice is not None), *costly]
    skip = CONVERTED if any(choice.kind != "baseline" for choice in in_turn) else ""
    return [*((c, "") for c in in_turn), *((c, skip) for c in converted), *lacking, *((c, "") for c in votes)]
