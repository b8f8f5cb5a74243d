"""Where a project's state lives: its store, its ledger and its workspace.

By default everything is in `.luban/` beside `luban.yaml`. Environment variables move it:
`LUBAN_STORE` (folder or fsspec URL), `LUBAN_LEDGER` (SQLAlchemy URL), `LUBAN_WORKSPACE` (a name that
keeps teams apart in one ledger). Does not know projects or verbs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luban.store.blobs import Store
from luban.store.ledger import Ledger
from luban.store.unfinished import Unfinished

STATE = ".luban"


@dataclass(frozen=True)
class Home:
    """An opened store and ledger."""

    store: Store
    ledger: Ledger

    @classmethod
    def open(cls, folder: Path) -> Home:
        """The state of the project in `folder`, created where it is not there yet. Raises StoreError."""
        state = folder / STATE
        workspace = os.environ.get("LUBAN_WORKSPACE") or "default"
        store = Store(os.environ.get("LUBAN_STORE") or state, workspace)
        return cls(store, Ledger(os.environ.get("LUBAN_LEDGER") or state / "ledger.db", workspace))

    def keep(self, key: str, make: Callable[[Path], None], fence: Any = None) -> Path:
        """The folder kept under the result key, made once by `make(folder)` and never changed again.

        `make` fills an empty scratch folder, which is then published whole; killed before that, nothing
        is seen of it and the next call makes it again.
        """
        found = self.kept(key)
        if found is not None:
            return found
        self.ledger.forget(key, fence)  # a result whose tree was dropped is made anew, and may differ in its times
        with self.store.scratch("result") as folder:
            make(folder)
            tree = self.store.publish(folder)
        self.ledger.record(key, {"tree": tree}, fence)
        self.unfinished(key).remove()
        return self.store.fetch(tree)

    def unfinished(self, key: str) -> Unfinished:
        """Where whoever makes the result `key` keeps what it has so far; gone when the result is recorded."""
        return self.store.unfinished(key)

    def kept(self, key: str) -> Path | None:
        """The folder kept under the result key, or None."""
        tree = self.tree(key)
        return None if tree is None else self.store.fetch(tree)

    def tree(self, key: str) -> str | None:
        """The store's name of the folder kept under the result key, or None."""
        found = self.ledger.result(key)
        if found is None or not self.store.has_tree(found["tree"]):
            return None
        return str(found["tree"])


@dataclass(frozen=True)
class Parts:
    """The parts of one verb's result, each kept for itself: the candidates of a training run.

    `whole` is the result key of the whole, `fence` the lease under which parts are recorded.
    """

    home: Home
    whole: str
    fence: Any = None

    def __call__(self, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of the part `key`; see `Home.keep`."""
        return self.home.keep(f"{self.whole}/{key}", make, self.fence)

    def unfinished(self, key: str) -> Unfinished:
        """Where whoever makes the part `key` keeps what it has so far; gone when the part is recorded."""
        return self.home.unfinished(f"{self.whole}/{key}")
