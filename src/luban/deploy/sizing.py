"""From what one process can do to how many are needed, with how much memory, and at which cost.

Rules, all of them settings: a process is planned at `utilisation` of its capacity, because arrivals come in
bursts and a queue grows without bound towards 1 (Kingman's formula); what is left when one replica
is lost must still carry the load; memory has room for a second version beside the first, which a swap
needs, and for each process that answers files (jobs) as much as a server takes. Costs are those of the prices that
are given; none given, none stated. Measures nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from luban.catalog import Config
from luban.errors import ServeError

if TYPE_CHECKING:
    from luban.deploy.capacity import Capacity

GIB = 2**30
HOURS_A_MONTH = 730.0


class SizingConfig(Config):
    """How many servers a load needs."""

    rps: float = Field(100.0, gt=0)
    """Requests a second at the busiest time."""
    p95_ms: float = Field(50.0, gt=0)
    """Time within which 95 of 100 requests are answered."""
    utilisation: float = Field(0.6, gt=0, lt=1)
    """Share of its capacity at which a process is planned."""
    min_replicas: int = Field(2, ge=1)
    """Least number of machines or pods."""
    cores: int = Field(2, ge=1)
    """Cores of one machine or pod; each carries one process."""
    memory_factor: float = Field(1.5, ge=1)
    """Memory that is given, over the largest that was measured: room for a second version during a swap."""
    trial_s: float = Field(2.0, gt=0, le=60)
    """Seconds that each rate is tried for; about a dozen rates are."""
    core_hour: float | None = Field(None, ge=0)
    """Price of one core for an hour, in whatever currency."""
    gib_hour: float = Field(0.0, ge=0)
    """Price of one GiB of memory for an hour."""


@dataclass(frozen=True)
class Sizing:
    """How many of what. `cost_…` are None without prices; `load` is the share of capacity that is used."""

    replicas: int
    processes: int
    cpu: float
    memory_mb: int
    num_for_jobs: int
    load: float
    load_with_one_lost: float
    cost_per_thousand: float | None
    cost_per_month: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def size(config: SizingConfig, measured: Capacity, num_for_jobs: int = 0) -> Sizing:
    """How many replicas of how many processes carry the load. Raises ServeError where none can.

    `cpu` and `memory_mb` (MiB) are of one replica, in which `num_for_jobs` more processes may answer files; costs are
    of all.
    """
    if measured.rps <= 0 and measured.limited_by == "machine":
        raise ServeError(f"Nothing can be planned: {_BUSY}", "Or allow more time with --p95-ms.")
    if measured.rps <= 0:
        raise ServeError(
            f"One process alone cannot answer within {config.p95_ms:g} ms: p95 is {measured.p95_ms:.1f} ms even "
            "without load.",
            "Allow more time, or make the model smaller: `budget` and `compress` in luban.yaml.",
        )
    needed = math.ceil(config.rps / (measured.rps * config.utilisation))
    replicas = max(config.min_replicas, math.ceil(needed / config.cores))
    processes = math.ceil(needed / replicas)
    if replicas > 1 and config.rps > (replicas - 1) * processes * measured.rps:
        processes = math.ceil(config.rps / ((replicas - 1) * measured.rps))
        if processes > config.cores:
            replicas, processes = replicas + 1, config.cores
    times = processes * config.memory_factor + num_for_jobs
    memory_mb = math.ceil(times * measured.memory_mb * 1e6 / 2**20)
    whole, left = replicas * processes * measured.rps, (replicas - 1) * processes * measured.rps
    thousand = month = None
    if config.core_hour is not None:
        hour = replicas * (processes * config.core_hour + memory_mb * 2**20 / GIB * config.gib_hour)
        thousand, month = hour / (config.rps * 3600) * 1000, hour * HOURS_A_MONTH
    return Sizing(
        replicas=replicas,
        processes=processes,
        cpu=float(processes),
        memory_mb=memory_mb,
        num_for_jobs=num_for_jobs,
        load=config.rps / whole,
        load_with_one_lost=config.rps / left if left else math.inf,
        cost_per_thousand=thousand,
        cost_per_month=month,
    )


def described(config: SizingConfig, measured: Capacity, sizing: Sizing) -> list[str]:
    """The plan as a person reads it, and the settings that follow from it."""
    more = _LIMITS.get(measured.limited_by, "")
    found = [
        f"One process answers {measured.rps:,.0f} requests of one row a second "
        f"with p95 {measured.p95_ms:.1f} ms{more};",
        f"alone a request takes {measured.unloaded_p50_ms:.1f} ms (p95 {measured.unloaded_p95_ms:.1f} ms). "
        f"It was ready in {measured.ready_s:.1f} s and held {measured.memory_mb:.0f} MB at most.",
        "",
        f"For {config.rps:,g} requests a second within {config.p95_ms:g} ms:",
        f"  replicas               {sizing.replicas}",
        f"  processes in each      {sizing.processes}",
        f"  cores in each          {sizing.cpu:g}",
        f"  memory of each         {sizing.memory_mb} MB" + _with_jobs(sizing),
        f"  use of their capacity  {sizing.load:.0%}" + _when_lost(sizing),
    ]
    if sizing.cost_per_thousand is not None and sizing.cost_per_month is not None:
        found.append(f"  cost of 1,000 answers  {sizing.cost_per_thousand:.6f} if they come at that rate all the time")
        found.append(f"  cost a month           {sizing.cost_per_month:,.2f}")
    else:
        found.append("  cost                   give prices: --core-hour 0.04 --gib-hour 0.005")
    settings = [f"deploy: {{replicas: {sizing.replicas}, cpus: {sizing.cpu:g}, memory_mb: {sizing.memory_mb}}}"]
    if sizing.processes > 1:
        settings.append(f"serve: {{workers: {sizing.processes}}}")
    if measured.limited_by == "machine":
        found.append(f"note: {_BUSY}")
    return [*found, "", "In luban.yaml:", *(f"  {one}" for one in settings)]


_LIMITS = {"load": " (the process that asked could not ask faster)", "machine": " (held up by other work here)"}
_BUSY = (
    "this machine was busy with other work while the server was measured, so that it can do more than was seen. "
    "Measure again when the machine is idle."
)


def _with_jobs(sizing: Sizing) -> str:
    return f", with {sizing.num_for_jobs} more for files (serve.jobs)" if sizing.num_for_jobs else ""


def _when_lost(sizing: Sizing) -> str:
    return f"; {sizing.load_with_one_lost:.0%} when one is lost" if sizing.replicas > 1 else ""
