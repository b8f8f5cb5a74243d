"""A tiny project, and `luban` as people call it: a process of its own, with state of its own."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from luban.store.blobs import Store
from luban.store.ledger import Ledger

from . import warm

T = TypeVar("T")
LUBAN = ("-m", "luban")
Process = subprocess.Popen[str] | warm.Call
TIMEOUT_S = 180
KILL_AT = Path(__file__).with_name("kill_at.py")
HEADER = ("text", "price", "city", "label")
PRAISE = ("great", "lovely", "quiet", "clean", "friendly", "tasty", "warm", "kind")
BLAME = ("dirty", "loud", "rude", "cold", "broken", "awful", "slow", "stale")
PLAIN = ("the", "room", "was", "and", "staff", "food", "bed", "view", "from", "our", "window", "door")


@dataclass(frozen=True)
class Answer:
    """How a call of `luban` ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` printed; a line that a kill cut off is left out."""
        return [json.loads(line) for line in self.out.split("\n")[:-1] if line.startswith("{")]

    def kept(self) -> dict[str, bool]:
        """Verb to whether its result was kept from before."""
        return {event["verb"]: event["kept"] for event in self.events if event.get("event") == "verb"}

    def candidates(self) -> dict[str, dict[str, Any]]:
        """The leaderboard's rows, by name."""
        return {event["name"]: event for event in self.events if event.get("event") == "candidate"}


def rows(count: int = 240, seed: int = 7) -> list[list[str]]:
    """Generated rows: a text and a number that tell something of the label, a city that does not."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        good = chance.random() < 0.5
        words = chance.choices(PLAIN, k=6) + chance.choices(PRAISE if good else BLAME, k=2)
        words += chance.choices(BLAME if good else PRAISE, k=chance.random() < 0.3)
        chance.shuffle(words)
        price = f"{chance.gauss(120 if good else 90, 30):.2f}"
        found.append([f"{' '.join(words)} {number}", price, chance.choice(["Rome", "Oslo", "Lima"]), _label(good)])
    return found


def _label(good: bool) -> str:
    return "good" if good else "bad"


def write_csv(path: Path, body: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    """A CSV file in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(body)
    return path


@dataclass
class Tiny:
    """A project in a folder of its own. `env` is added to the environment of every call, which `python` runs."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    @classmethod
    def made(cls, folder: Path, body: Iterable[Sequence[str]] | None = None, **changes: Any) -> Tiny:
        """Write `luban.yaml` and `rows.csv` into `folder`; `changes` replace sections of the project file."""
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "rows.csv", rows() if body is None else body)
        tiny = cls(folder)
        tiny.configure(**changes)
        return tiny

    def configure(self, **changes: Any) -> None:
        """Write the project file anew."""
        settings: dict[str, Any] = {
            "name": "tiny",
            "owner": "tests",
            "purpose": "Route unhappy guests to a person.",
            "data": {
                "source": "rows.csv",
                "columns": {"text": "text", "price": "number", "city": "category", "label": "category"},
                "target": "label",
            },
            "train": {
                "models": ["linear", {"kind": "linear", "c": 1.0}, "vote"],
                "time_budget_s": 600,
                "num_threads": 1,
            },
            "release": {"promote": "significant"},
        }
        text = yaml.safe_dump({**settings, **changes}, sort_keys=False, allow_unicode=True)
        (self.folder / "luban.yaml").write_text(text, "utf-8")

    def copy(self, folder: Path) -> Tiny:
        """The project with its state, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Tiny(folder, dict(self.env), self.python)

    def environment(self) -> dict[str, str]:
        """What a call sees: nothing of the caller's settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUBAN_")}
        return {**inherited, "LUBAN_CACHE": str(self.folder / "cache"), "COLUMNS": "200", **self.env}

    def start(self, *arguments: str, program: Sequence[str] = LUBAN, cold: bool = False, **popen: Any) -> Process:
        """A call that goes on beside the test; `cold`: from nothing, and not forked from what has done the imports."""
        if not (cold or popen or "PYTHONPATH" in self.env or self.python != sys.executable):
            return warm.start(program, arguments, self.folder, self.environment())
        return subprocess.Popen(
            [self.python, *program, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **popen,
        )

    def call(self, *arguments: str, **start: Any) -> Answer:
        """A call, and how it ended."""
        return finish(self.start(*arguments, **start))

    def done(self, *arguments: str, cold: bool = False) -> Answer:
        """A call that must go well."""
        answer = self.call(*arguments, cold=cold)
        assert answer.status == 0, answer.err
        return answer

    def fails(self, *arguments: str, says: Iterable[str] = (), status: int = 1) -> str:
        """A call that must end with `status` and one clear message that has all of `says`."""
        answer = self.call(*arguments)
        said = answer.err
        assert answer.status == status, f"status {answer.status}: {said}{answer.out}"
        assert "Traceback" not in said + answer.out, said
        for part in says:
            assert part in said, f"{part!r} is not in: {said}"
        return said

    def killed_after(self, seconds: float, *arguments: str, sign: int = signal.SIGKILL) -> Answer:
        """A call that gets a signal after `seconds`; whole lines alone are kept of what it printed."""
        process = self.start(*arguments)
        time.sleep(seconds)
        process.send_signal(sign)
        return finish(process)

    def killed_at(self, number: int, *arguments: str) -> Answer:
        """A call that is killed just before its `number`-th change of state; 0: never, only counted."""
        return self.signalled_at("SIGKILL", number, *arguments)

    def signalled_at(self, sign: str, number: int, *arguments: str) -> Answer:
        """The same with another signal."""
        return self.call(sign, "all", str(number), str(self.folder), *arguments, program=(str(KILL_AT),))

    def paused_at(self, number: int, *arguments: str) -> Process:
        """A call that is stopped just before its `number`-th change of a file, and waits for SIGCONT."""
        call = ("SIGSTOP", "files", str(number), str(self.folder), *arguments)
        process = self.start(*call, program=(str(KILL_AT),), cold=True)  # one's own child, to wait for its stop
        os.waitpid(process.pid, os.WUNTRACED)
        return process

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[str]:
        """`luban serve` on a free port; gives its address, and ends it as a supervisor would."""
        process = self.start("serve", "--port", "0", "--json", *arguments, cold=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, finish(process).err
        try:
            yield json.loads(line)["address"]
        finally:
            process.terminate()
            answer = finish(process)
        assert answer.status == 0, answer.err

    @cached_property
    def ledger(self) -> Ledger:
        """Its ledger."""
        return Ledger(self.folder / ".luban" / "ledger.db")

    @property
    def store(self) -> Store:
        """Its store."""
        return Store(self.env.get("LUBAN_STORE", self.folder / ".luban"))

    def trees(self) -> set[str]:
        """Names of all published folders."""
        return {path.name for path in (Path(self.store.url) / "default" / "trees").glob("*")}

    def report(self) -> dict[str, Any]:
        """What the last `prepare` reported, as its dataset has it."""
        folders = [self.store.fetch(json.loads(value)["tree"]) for value, _ in self.results().values()]
        (found,) = [folder for folder in folders if (folder / "quarantine.parquet").is_file()]
        report: dict[str, Any] = json.loads((found / "report.json").read_bytes())
        return report

    def results(self) -> dict[str, tuple[str, str]]:
        """All recorded results: key to (value, when), as they stand in the ledger's file."""
        from sqlalchemy import select

        from luban.store.tables import results

        if not (self.folder / ".luban" / "ledger.db").exists():
            return {}
        with self.ledger.reading() as tx:
            return {row.key: (row.value, row.time) for row in tx.execute(select(results)).all()}

    def versions(self) -> list[dict[str, Any]]:
        """What is released, newest first."""
        found: list[dict[str, Any]] = self.done("models", "list", "--json").events[0]["versions"]
        return found


def side_by_side(work: Callable[[T], None], cases: Iterable[T]) -> None:
    """Each case on one of two cores; raises all that failed, each with its case."""
    failed: list[Exception] = []

    def attempt(case: T) -> None:
        try:
            work(case)
        except Exception as error:
            error.add_note(f"case: {case}")
            failed.append(error)

    with ThreadPoolExecutor(2) as cores:
        list(cores.map(attempt, cases))
    if failed:
        raise ExceptionGroup(f"{len(failed)} cases failed", failed)


def finish(process: Process) -> Answer:
    """Wait for a call to end."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Answer(process.wait(), out, err)


def check_whole(tiny: Tiny) -> None:
    """All that is visible is whole: every tree, every version, the audit trail, and no leftover that stays."""
    store, ledger = tiny.store, tiny.ledger
    for tree in tiny.trees():
        store.verify(tree)
    for value, _ in tiny.results().values():
        assert store.has_tree(json.loads(value)["tree"])
    from luban.bundle.bundle import Bundle
    from luban.release.registry import Registry

    registry = Registry(ledger, store)
    for name in registry.models():
        for version in registry.versions(name):
            assert Bundle.load(store.fetch(version.tree)).identity == version.identity
        ledger.verify_audit(registry.heads(name))
    with store.scratch() as folder:
        assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}


def without_time(row: Mapping[str, Any]) -> dict[str, Any]:
    """A leaderboard's row without what the clock said."""
    return {name: value for name, value in row.items() if name != "seconds"}
