"""`kill_at.py SIGNAL WHAT N FOLDER ARGUMENT…` is `luban ARGUMENT…`, sent SIGNAL at its N-th change of state.

A change is, below FOLDER, a file opened for writing, a rename, a removal, a folder made, a mode changed; and, where
WHAT is `all` and not `files`, a transaction: before it is committed, and just after. Only the main thread's count,
so that the same call always makes the same changes. The signal comes just before the change. N = 0 sends nothing,
and prints the number of changes on standard error at the end.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killer:
    """Counts changes, and sends its own process a signal at one of them."""

    def __init__(self, sign: str, number: int, folder: str) -> None:
        self.sign, self.number, self.folder = signal.Signals[sign], number, os.path.realpath(folder)
        self.count = 0

    def change(self, *_: Any) -> None:
        """Another change is about to happen."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.count += 1
        if self.count == self.number:
            os.kill(os.getpid(), self.sign)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by Python for everything of note that it does."""
        if event in CHANGES:
            # What is opened relative to a descriptor, as when a folder is removed, has no full path: it counts.
            named = isinstance(arguments[0], (str, bytes, os.PathLike))
            if not named or not os.fsdecode(arguments[0]).startswith("/") or self.below(arguments[0]):
                self.change()
        elif event == "open" and arguments[2] & WRITES and self.below(arguments[0]):
            self.change()

    def below(self, path: object) -> bool:
        """Whether a file is one of the folder's."""
        return isinstance(path, (str, bytes, os.PathLike)) and os.path.realpath(os.fsdecode(path)).startswith(
            self.folder
        )


def main() -> None:
    """Count, and call."""
    sign, what, number, folder, *arguments = sys.argv[1:]
    killer = Killer(sign, int(number), folder)
    sys.argv[:] = ["luban", *arguments]
    from sqlalchemy import Engine, Pool, event

    from luban.cli.main import main as luban

    if what == "all":
        event.listen(Engine, "commit", killer.change)
        event.listen(Pool, "checkin", killer.change)
    sys.addaudithook(killer.audit)
    if not killer.number:
        atexit.register(lambda: print(f"changes {killer.count}", file=sys.stderr))
    luban()


if __name__ == "__main__":
    main()
