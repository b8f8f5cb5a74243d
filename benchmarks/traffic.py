"""Traffic: what swaps, canaries and rollbacks cost under load, and how closely a split is kept.

    python -m benchmarks.traffic [--requests 100000] [--quick]

Two processes of `luban serve` share one state with three released versions of a small project; sixteen connections ask
one row each, every request with a sticky key of its own. `split` is one share for all requests: how many the challenger
answered. `changes`: meanwhile the champion is swapped again and again by `promote` and `rollback`, a canary
steps up by itself to champion, and another is rolled back by hand; a failure is any answer but 200, or none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import emit
from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS, luban
from luban.policy.rules import Actor
from luban.release.deployments import Deployments
from luban.release.rollout import CanaryRule
from luban.workshop import Workshop

NAME = "traffic"
ACTOR = Actor("benchmark")
CONNECTIONS, SHARE = 16, 0.25
CANARY_S = 60.0
"""Time for the canary of three steps of half a second; the load goes on for as long."""
PROJECT = """\
name: tickets
owner: service-team
purpose: Send angry messages to a person.
data: {source: rows.csv, target: angry}
release: {promote: never}
serve: {poll_s: 0.1, traffic: {write_s: 0.5}, records: {answers: false}}
"""


def released(folder: Path) -> Workshop:
    """A project with three versions."""
    from luban.project import load_project

    chance = random.Random(3)
    lines = ["message,angry"]
    for number in range(600):
        angry = chance.random() < 0.5
        words = chance.choices(["broken", "refund", "never"] if angry else ["thanks", "fine", "quick"], k=4)
        lines.append(f"{' '.join(words)} {number},{'yes' if angry else 'no'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    for strength in (1, 2, 4):
        models = f"train.models=[{{kind: linear, c: {strength}}}]"
        luban("run", "--project", folder, "--set", models, "--set", "evaluate.num_resamples=100")
    project, where = load_project(folder)
    return Workshop.open(project, where)


@contextmanager
def servers(folder: Path, count: int) -> Iterator[list[str]]:
    """Addresses of processes that serve the project."""
    command = [LUBAN, "serve", "--project", str(folder), "--port", "0", "--json"]
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=STATE_IS_THE_PROJECTS
                )
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            found.append(json.loads(process.stdout.readline())["address"])
        yield found


class Load:
    """Requests over kept connections; a connection that breaks is a failure, and opened again."""

    def __init__(self, addresses: list[str]) -> None:
        self.versions: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.number = 0
        self._addresses = addresses
        self._body = json.dumps({"rows": [{"message": "refund never broken"}]}).encode()

    async def run(self, more: Callable[[], bool]) -> None:
        """Ask as long as `more()`."""
        await asyncio.gather(
            *(self._client(self._addresses[n % len(self._addresses)], more) for n in range(CONNECTIONS))
        )

    async def _client(self, address: str, more: Callable[[], bool]) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while more():
            self.number += 1
            head = f"POST /v1/predict HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            head += f"x-sticky-key: caller-{self.number}\r\ncontent-length: {len(self._body)}\r\n\r\n"
            try:
                writer.write(head.encode() + self._body)
                top = await reader.readuntil(b"\r\n\r\n")
                size = re.search(rb"content-length: (\d+)", top)
                body = await reader.readexactly(int(size[1]) if size else 0)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures[type(error).__name__] += 1
                reader, writer = await asyncio.open_connection(host, int(port))
                continue
            version = re.search(rb'"version":(\d+)', body)
            if not top.startswith(b"HTTP/1.1 200") or version is None:
                kind = re.search(rb"urn:luban:problem:([a-z-]+)", body)
                self.failures[kind[1].decode() if kind else top[9:12].decode()] += 1
            else:
                self.versions[int(version[1])] += 1
        writer.close()


def split(addresses: list[str], deployments: Deployments, model: str, requests: int) -> None:
    """One share for all requests."""
    deployments.set_weights(model, {2: SHARE}, ACTOR)
    time.sleep(1.0)
    load, began = Load(addresses), time.perf_counter()
    asyncio.run(load.run(lambda: load.number < requests))
    taken = time.perf_counter() - began
    found = load.versions[2] / load.versions.total()
    emit(
        NAME, "split", requests=load.versions.total(), share=SHARE, found=round(found, 5),
        points_off=round(100 * abs(found - SHARE), 3), failures=load.failures.total(),
        requests_a_second=round(load.number / taken),
    )  # fmt: skip
    deployments.stop(model, ACTOR)


def changes(addresses: list[str], deployments: Deployments, model: str, requests: int) -> None:
    """Swaps, a canary that becomes champion, one that is rolled back, all under load."""
    load = Load(addresses)
    swaps = [0]

    async def change() -> None:
        while load.number < requests * 0.4:
            deployments.promote(model, 1 + swaps[0] % 2, ACTOR)
            swaps[0] += 1
            await asyncio.sleep(0.4)
        rule = CanaryRule(steps=(0.05, 0.25, 0.5), step_s=0.5, promote=True, max_latency_ratio=None)
        champion = deployments.read(model).champion
        deployments.start_canary(model, 3, rule, ACTOR)
        end = time.monotonic() + CANARY_S
        while deployments.read(model).champion == champion:
            if time.monotonic() > end:
                raise SystemExit(f"The canary did not become champion within {CANARY_S:g} s.")
            await asyncio.sleep(0.2)
        promoted = deployments.read(model).champion == 3
        deployments.start_canary(model, 1, CanaryRule(steps=(0.5,), max_latency_ratio=None), ACTOR)
        await asyncio.sleep(1.0)
        deployments.rollback(model, ACTOR, "by hand")
        deployments.rollback(model, ACTOR)
        done.append(promoted)

    done: list[bool] = []

    async def both() -> None:
        changing = asyncio.ensure_future(change())
        await load.run(lambda: load.number < requests or not changing.done())
        await changing

    asyncio.run(both())
    emit(
        NAME, "changes", requests=load.number, swaps=swaps[0], canary_became_champion=done == [True], rollbacks=2,
        versions_that_answered=len(load.versions), failures=load.failures.total(), kinds=dict(load.failures),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="5,000 requests")
    given = parser.parse_args()
    requests = 5000 if given.quick else given.requests
    with tempfile.TemporaryDirectory() as place:
        shop = released(Path(place))
        deployments = Deployments(shop.home.ledger, shop.registry)
        with servers(Path(place), 2) as addresses:
            split(addresses, deployments, shop.project.name, requests)
            changes(addresses, deployments, shop.project.name, requests)


if __name__ == "__main__":
    main()
