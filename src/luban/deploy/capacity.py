"""What one server process can do: found by asking a real one, on this machine, over loopback.

A `luban serve` process answers the bundle's own example rows while requests arrive at a fixed rate
(`load`). The rate grows until the 95th percentile or a failure says stop, then is halved in between: the
highest rate that held is the capacity. Decided here: the server has one core and the load another where there
are two, and what limits is said (the load's own process may). Knows no prices and no targets.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from luban.deploy.load import Load, drive, request_bytes
from luban.errors import ServeError

START_S = 60.0
FIRST_RATE, NARROWINGS = 25.0, 4
MAX_RATE = 50_000.0
BUSY = 0.75
"""Share of the time for which a server at its limit works. One that works less, and waits for its core for half as
long as it works, is held up by what else runs there."""
LARGE = 1000
"""Rows of the large requests that are asked last: they take the most memory."""


@dataclass(frozen=True)
class Trial:
    """One rate that was tried, in requests a second, and what came back."""

    rate: float
    p95_ms: float
    num_failed: int
    held: bool
    busy: float
    """Share of the time for which the server worked."""
    waiting: float
    """Share of the time for which it could have worked, but its core did other work."""


@dataclass(frozen=True)
class Capacity:
    """What was measured of one process on one core.

    `rps` is the highest rate that held with p95 within `p95_ms`; `limited_by` is `server`, or `load` where the process
    that asked could not ask faster: then the server can do more; or `machine`, where the server waited
    for its core, which did other work: then it can do more on a machine of its own. `memory_mb` is its largest
    resident memory, requests of 1,000 rows among what was asked.
    """

    rps: float
    p95_ms: float
    unloaded_p50_ms: float
    unloaded_p95_ms: float
    memory_mb: float
    ready_s: float
    rows_a_request: int
    limited_by: str
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@contextlib.contextmanager
def server(bundle: Path, settings: Sequence[str] = (), core: int | None = None) -> Iterator[tuple[str, int, float]]:
    """A real server of a bundle's folder: address, process id, seconds until it was ready. Ended afterwards."""
    command = [sys.executable, "-m", "luban", "serve", "--bundle", str(bundle), "--port", "0", "--json", *settings]
    # A key would have to be sent with each request; what is measured is who answers, not who may ask.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUBAN_API_KEY")}
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            line = process.stdout.readline()
            if not line:
                raise ServeError("The server to be measured did not start.", f"Try: luban serve --bundle {bundle}")
            yield json.loads(line)["address"], process.pid, time.perf_counter() - started
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()


def capacity(
    bundle: Path, rows: Sequence[dict[str, Any]], p95_ms: float, trial_s: float = 2.0, max_rate: float = MAX_RATE
) -> Capacity:
    """Measure a bundle under the promise that 95 of 100 requests are answered within `p95_ms`.

    Each of `rows` is a request of its own, asked in turn; rates beyond `max_rate` are not tried. Takes about
    a dozen trials. Raises ServeError.
    """
    if not rows:
        raise ServeError("The bundle has no example rows to be measured with.", "Release it again.")
    cores = sorted(os.sched_getaffinity(0))
    with server(bundle, core=cores[-1] if len(cores) > 1 else None) as (address, pid, ready_s), _on(cores[0]):
        asked = [request_bytes(address, "/v1/predict", orjson.dumps({"rows": [row]})) for row in rows]
        drive(address, asked, 50, 0.5, 4)  # warm up
        alone = drive(address, asked, 20, 1.0, 4)
        if alone.num_failed:
            raise ServeError(
                f"The server answers its own example rows with {dict(alone.statuses)}.", "Look at its log."
            )
        trials, limited_by = _search(address, asked, p95_ms, trial_s, max_rate, pid)
        many = [rows[number % len(rows)] for number in range(LARGE)]
        large = drive(address, [request_bytes(address, "/v1/predict", orjson.dumps({"rows": many}))], 2, 1.0, 4)
        if 200 not in large.statuses:
            raise ServeError(
                f"The server answers no request of {LARGE} rows ({dict(large.statuses)}), by which memory is measured.",
                "Unset what makes its limits smaller, such as LUBAN__SERVE__MAX_ROWS.",
            )
        held = [trial for trial in trials if trial.held]
        best = max(held, key=lambda trial: trial.rate, default=None)
        return Capacity(
            rps=best.rate if best else 0.0,
            p95_ms=best.p95_ms if best else alone.quantile_ms(0.95),
            unloaded_p50_ms=alone.quantile_ms(0.5),
            unloaded_p95_ms=alone.quantile_ms(0.95),
            memory_mb=_peak_mb(pid),
            ready_s=ready_s,
            rows_a_request=1,
            limited_by=limited_by,
            trials=tuple(trials),
        )


def _search(
    address: str, asked: Sequence[bytes], p95_ms: float, trial_s: float, max_rate: float, pid: int
) -> tuple[list[Trial], str]:
    trials: list[Trial] = []
    low, high, limited_by = 0.0, FIRST_RATE, "server"

    def held(rate: float) -> bool:
        nonlocal limited_by
        began, (worked, waited) = time.perf_counter(), _scheduled_s(pid)
        load = drive(address, asked, rate, trial_s)
        took_s, (now_worked, now_waited) = time.perf_counter() - began, _scheduled_s(pid)
        busy, waiting = (now_worked - worked) / took_s, (now_waited - waited) / took_s
        behind = load.late_s * 1000 > p95_ms / 2
        good = not load.num_failed and load.quantile_ms(0.95) <= p95_ms and not behind
        if not good:
            limited_by = "load" if behind and _mostly_waits(load, p95_ms) else "server"
            if busy < BUSY and waiting > busy / 2:
                limited_by = "machine"
        trials.append(Trial(rate, load.quantile_ms(0.95), load.num_failed, good, busy, waiting))
        return good

    # A machine has other things to do now and then: what did not hold is tried once more.
    while high <= max_rate and (held(high) or held(high)):
        low, high = high, high * 2
    for _ in range(NARROWINGS if low else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) or held(middle) else (low, middle)
    return trials, limited_by


def _mostly_waits(load: Load, p95_ms: float) -> bool:
    """Whether the load's own delay is as long as the times that it saw: then it saw itself."""
    return load.late_s * 1000 >= min(load.quantile_ms(0.95), p95_ms) / 2


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    """Run on one core for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _scheduled_s(pid: int) -> tuple[float, float]:
    """Seconds for which a process' first thread, which answers, worked and waited for a core so far.

    Zeros where the kernel does not count them (https://docs.kernel.org/scheduler/sched-stats.html, schedstat).
    """
    try:
        worked, waited, _ = Path(f"/proc/{pid}/schedstat").read_text("ascii").split()
    except FileNotFoundError:
        return 0.0, 0.0
    return int(worked) / 1e9, int(waited) / 1e9


def _peak_mb(pid: int) -> float:
    """The largest resident memory of a process so far, in MB of 10^6 bytes (proc(5), VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ServeError("The memory of the measured server cannot be read.", "Measure on Linux.")
