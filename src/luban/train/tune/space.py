"""What may be searched: fields that their component declares `searchable`, by dotted names.

`recipe.learning_rate` is a field of a field, `bags.0.ngram_max` one of the first of a list. Decided here:
a declared range is where tuning looks if nobody says otherwise; a stated one may be wider, as far as the
field itself allows. Knows no family.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from luban.catalog import Choice, Config, nearest

Scalar = bool | int | float | str | None
"""A setting that may be drawn: plain JSON."""
Values = dict[str, Scalar]
"""One set of settings, by dotted name."""


@dataclass(frozen=True)
class Range:
    """Where one field is searched: from `low` to `high`, both included, or among `choices`.

    `log`: by orders of magnitude; `whole`: whole numbers alone.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Scalar, ...] = ()

    def points(self, count: int) -> list[Scalar]:
        """All choices, or `count` values that lie evenly between the ends (by orders of magnitude where `log`)."""
        if self.choices:
            return list(self.choices)
        if count == 1 or self.low == self.high:
            return [self._value(self.low)]
        shares = [step / (count - 1) for step in range(count)]
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        found = [ends[0] + share * (ends[1] - ends[0]) for share in shares]
        inside = [min(max(math.exp(x) if self.log else x, self.low), self.high) for x in found]
        return list(dict.fromkeys(map(self._value, inside)))

    def holds(self, value: Scalar) -> bool:
        """Whether a value lies in the range, or is one of the choices."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def _value(self, number: float) -> Scalar:
        return round(number) if self.whole else float(f"{number:.6g}")

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} in {', '.join(map(shown, self.choices))}"
        ends = f"{self.name} from {shown(self._value(self.low))} to {shown(self._value(self.high))}"
        return f"{ends}, by orders of magnitude" if self.log else ends


def shown(value: Scalar) -> str:
    """A value as it stands in YAML, numbers with four digits.

    >>> [shown(value) for value in (0.000123456, True, None, "nb", 31)]
    ['0.0001235', 'true', 'null', 'nb', '31']
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def declared(config: Config) -> dict[str, Range]:
    """Every searchable field of a component with these settings, by dotted name."""
    return {found.name: found for found in _below("", config)}


def _below(prefix: str, config: Config) -> Iterator[Range]:
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        found = searched(f"{prefix}{name}", field)
        if found is not None:
            yield found
        inner = list(enumerate(value)) if isinstance(value, tuple) else [(None, value)]
        for position, one in inner:
            settings = one.config if isinstance(one, Choice) else one
            if isinstance(settings, Config):
                yield from _below(f"{prefix}{name}.{'' if position is None else f'{position}.'}", settings)


def searched(name: str, field: FieldInfo) -> Range | None:
    """Where tuning looks for a field if nobody says, or None where it is not declared `searchable`."""
    about = field.json_schema_extra.get("searchable") if isinstance(field.json_schema_extra, dict) else None
    return _range(name, field, about) if isinstance(about, dict) else None


def _range(name: str, field: FieldInfo, about: Mapping[str, Any]) -> Range:
    if about.get("low") is not None:
        whole = isinstance(about["low"], int) and isinstance(about["high"], int)
        return Range(name, about["low"], about["high"], bool(about.get("log")), whole)
    choices = about.get("choices") or (get_args(field.annotation) if get_origin(field.annotation) is Literal else ())
    return Range(name, choices=tuple(choices or (False, True)))


class Bounds(Config):
    """Where one field is searched, in full."""

    low: float | None = None
    """The least value."""
    high: float | None = None
    """The largest value."""
    log: bool | None = None
    """Search by orders of magnitude; as declared where nothing is said."""
    choices: tuple[Scalar, ...] = ()
    """The values to choose from, in place of a range."""


def ranges(family: Choice, space: Mapping[str, Any]) -> tuple[Range, ...]:
    """The fields that are searched: those that `space` names, or all that are declared and not stated.

    Raises ValueError with a sentence for the user.
    """
    known = declared(family.config)
    if not known:
        raise ValueError(f"must name a family with searchable settings; {family.kind} has none")
    if not space:
        free = tuple(found for name, found in known.items() if not _is_stated(family, name.split(".")))
        if not free:
            raise ValueError(f"must leave something to search: every searchable setting of {family.kind} is stated")
        return free
    for name in space:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean `{close}`? " if close else ""
            raise ValueError(f"`{name}` cannot be searched; {hint}searchable are: {', '.join(known)}")
    return tuple(_stated(family, known[name], entry) for name, entry in space.items())


def _is_stated(value: Any, path: Sequence[str]) -> bool:
    """Whether a setting was said, and does not have its default."""
    first, rest = path[0], path[1:]
    if isinstance(value, tuple):
        return _is_stated(value[int(first)], rest)
    config = value.config if isinstance(value, Choice) else value
    if first not in config.model_fields_set:
        return False
    return not rest or _is_stated(getattr(config, first), rest)


def _stated(family: Choice, default: Range, entry: Any) -> Range:
    """The declared range as `entry` narrows or widens it; both ends, or all choices, must be allowed."""
    if entry == "auto":
        return default
    bounds = entry if isinstance(entry, Bounds) else _of_list(default, entry)
    if bounds.choices:
        found = Range(default.name, choices=tuple(_plain(default, value) for value in bounds.choices))
        tried: Sequence[Scalar] = found.choices
    else:
        found = _narrowed(default, bounds)
        tried = [found._value(found.low), found._value(found.high)]
    for value in tried:
        try:
            with_values(family, {default.name: value})
        except ValidationError as error:
            raise ValueError(f"`{default.name}` cannot be {shown(value)}: {error.errors()[0]['msg']}") from None
    return found


def _of_list(default: Range, entry: Sequence[Scalar]) -> Bounds:
    """Two numbers are the ends of a range where the field has one; everything else is a choice."""
    if not entry:
        raise ValueError(f"`{default.name}` needs two ends or a choice, but the list is empty")
    if not default.choices and len(entry) == 2:
        low, high = (_plain(default, value) for value in entry)
        if isinstance(low, int | float) and isinstance(high, int | float):
            return Bounds(low=low, high=high)
    return Bounds(choices=tuple(entry))


def _plain(default: Range, value: Scalar) -> Scalar:
    """A number that YAML reads as a string (1e-3 has no point) as a number."""
    if isinstance(value, str) and not default.choices:
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"`{default.name}` must be a number, but got '{value}'") from None
    return value


def _narrowed(default: Range, bounds: Bounds) -> Range:
    if default.choices:
        raise ValueError(f"`{default.name}` has no range; list the values to choose from")
    low = default.low if bounds.low is None else bounds.low
    high = default.high if bounds.high is None else bounds.high
    log = default.log if bounds.log is None else bounds.log
    if not low <= high:
        raise ValueError(f"`{default.name}` must go from low to high, but got {low:g} to {high:g}")
    if log and low <= 0:
        if bounds.log:
            raise ValueError(f"`{default.name}` must begin above 0 where `log` is set, but got {low:g}")
        log = False
    if default.whole and (low != int(low) or high != int(high)):
        raise ValueError(f"`{default.name}` must have whole ends, but got {low:g} and {high:g}")
    return Range(default.name, low, high, log, default.whole)


def as_stated(family: Choice, ranges: Sequence[Range]) -> Values:
    """What the family's settings have in these fields now."""
    found: Values = {}
    for one in ranges:
        value: Any = family
        for part in one.name.split("."):
            value = value.config if isinstance(value, Choice) else value
            value = value[int(part)] if isinstance(value, tuple) else getattr(value, part)
        found[one.name] = value
    return found


def with_values(family: Choice, values: Mapping[str, Scalar]) -> Choice:
    """The family with some settings replaced, by dotted name. Raises ValidationError where one is not allowed."""
    settings = as_yaml(family.config)
    for name, value in values.items():
        _put(settings, family.config, name.split("."), value)
    return Choice(family.kind, type(family.config).model_validate(settings))


def as_yaml(value: Any) -> Any:
    """Settings that were stated, as they stand in a project file: defaults are left out."""
    if isinstance(value, Choice):
        return {"kind": value.kind, **as_yaml(value.config)}
    if isinstance(value, Config):
        return {
            name: as_yaml(getattr(value, name)) for name in type(value).model_fields if name in value.model_fields_set
        }
    return (
        [as_yaml(one) for one in value]
        if isinstance(value, tuple)
        else TypeAdapter(Any).dump_python(value, mode="json")
    )


def _put(settings: Any, config: Any, path: Sequence[str], value: Scalar) -> None:
    """Set one value in a nest of stated settings; those on the way that were not are added."""
    first, rest = path[0], path[1:]
    config = config.config if isinstance(config, Choice) else config
    if not rest:
        settings[first] = value
    elif isinstance(config, tuple):
        _put(settings[int(first)], config[int(first)], rest, value)
    else:
        inner = getattr(config, first)
        _put(settings.setdefault(first, as_yaml(inner)), inner, rest, value)
