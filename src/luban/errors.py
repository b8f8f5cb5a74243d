"""The one tree of errors.

    LubanError                     everything a user can cause or mend; exit status 1
    ├── ConfigError                luban.yaml or an option is wrong; names line, field, what is allowed
    ├── UnknownName                a catalog has no such entry; lists the known and the nearest
    ├── MissingExtra               a library is not installed; says which extra brings it
    ├── DataError                  the data cannot be read or used; names file, column or offset
    │   └── BadValue               one value cannot be read as its column's type
    ├── BundleError                a bundle is damaged, too new, or refuses what it is asked
    ├── StoreError                 the store or the ledger cannot be read or written
    │   └── LeaseHeld              somebody else holds the lease; says who and since when
    ├── ReleaseError               a gate failed, or the registry refuses a move
    ├── ServeError                 a server cannot start or a request cannot be answered
    └── Denied                     policy does not allow this actor to do this

House sentence: "`field` must be X, but got Y. Do Z." Errors that a programmer made are
`AssertionError` or `TypeError` and are not in this tree.
"""

from __future__ import annotations


class LubanError(Exception):
    """Base of all errors that a user can act on.

    `hint` is what to do next; it is shown on a line of its own.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(LubanError):
    """`luban.yaml`, an option or an environment variable is wrong."""


class UnknownName(ConfigError):
    """A catalog has no entry of this name."""


class MissingExtra(LubanError):
    """A library that this component needs is not installed."""


class DataError(LubanError):
    """Data cannot be read, parsed or used as asked."""


class BadValue(DataError):
    """One value cannot be read as its column's type; the message is the reason alone."""


class BundleError(LubanError):
    """A bundle is damaged, newer than this Luban, or cannot do what it is asked."""


class StoreError(LubanError):
    """The store or the ledger cannot be read or written."""


class LeaseHeld(StoreError):
    """Another owner holds the lease that was asked for."""


class ReleaseError(LubanError):
    """A gate failed, or the registry refuses the move."""


class ServeError(LubanError):
    """A server cannot start, or a request cannot be answered."""


class Denied(LubanError):
    """Policy does not allow this actor to do this to this object."""


_PLAIN = {
    "extra_forbidden": "is not known",
    "missing": "must be there",
    "model_type": "must be names with values, as {name: value}",
    "model_attributes_type": "must be names with values, as {name: value}",
    "dict_type": "must be names with values, as {name: value}",
}


def plain(kind: str, message: str) -> str:
    """What a check of settings says (pydantic's `type` and `msg`), in words that name no class and no library."""
    return _PLAIN.get(kind, message.removeprefix("Value error, ").removesuffix("."))
