"""How many servers a load needs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.tiny import write_tiny

from luban.bundle.bundle import Bundle
from luban.deploy.capacity import Capacity, capacity
from luban.deploy.sizing import SizingConfig, described, size
from luban.errors import ServeError


def measured(rps: float = 1000.0, memory_mb: float = 150.0) -> Capacity:
    return Capacity(rps, 10.0, 1.0, 2.0, memory_mb, 1.0, 1, "server", ())


def test_a_small_load_gets_two_replicas_of_one_process() -> None:
    found = size(SizingConfig(rps=100), measured())
    assert (found.replicas, found.processes, found.cpu) == (2, 1, 1.0)
    assert found.load == pytest.approx(0.05)
    assert found.memory_mb == math.ceil(150e6 * 1.5 / 2**20)
    assert found.cost_per_thousand is None


def test_the_plan_is_told_with_the_settings_that_follow() -> None:
    config = SizingConfig(rps=500, p95_ms=20, core_hour=0.04)
    text = "\n".join(described(config, measured(), size(config, measured())))
    assert "For 500 requests a second within 20 ms" in text
    assert "deploy: {replicas: 2, cpus: 1, memory_mb: 215}" in text
    assert "cost of 1,000 answers  0.000044" in text
    assert "give prices" in "\n".join(described(SizingConfig(), measured(), size(SizingConfig(), measured())))


def test_processes_that_answer_files_have_memory_of_their_own() -> None:
    config = SizingConfig(rps=100, memory_factor=1.5)
    found = size(config, measured(), num_for_jobs=2)
    assert found.memory_mb == math.ceil(150e6 * 3.5 / 2**20)
    assert "with 2 more for files (serve.jobs)" in "\n".join(described(config, measured(), found))
    assert "files" not in "\n".join(described(config, measured(), size(config, measured())))


def test_costs_are_those_of_the_prices() -> None:
    found = size(SizingConfig(rps=1000, core_hour=0.04, min_replicas=1, memory_factor=1), measured(2000, 2**30 / 1e6))
    assert (found.replicas, found.processes) == (1, 1)
    assert found.cost_per_thousand == pytest.approx(0.04 / 3600)
    assert found.cost_per_month == pytest.approx(0.04 * 730)
    with_memory = size(
        SizingConfig(rps=1000, core_hour=0.04, gib_hour=0.01, min_replicas=1, memory_factor=1),
        measured(2000, 2**30 / 1e6),
    )
    assert with_memory.cost_per_month == pytest.approx(0.05 * 730)


@given(
    rps=st.floats(1, 50_000),
    capacity_rps=st.floats(20, 20_000),
    cores=st.integers(1, 16),
    replicas=st.integers(1, 5),
    utilisation=st.floats(0.1, 0.95),
)
def test_the_load_is_carried_also_when_one_is_lost(
    rps: float, capacity_rps: float, cores: int, replicas: int, utilisation: float
) -> None:
    config = SizingConfig(rps=rps, cores=cores, min_replicas=replicas, utilisation=utilisation)
    found = size(config, measured(capacity_rps))
    assert found.replicas >= replicas
    assert 1 <= found.processes <= cores
    assert found.load <= utilisation + 1e-9
    assert found.replicas == 1 or found.load_with_one_lost <= 1 + 1e-9


def test_what_one_process_cannot_do_no_number_of_them_can() -> None:
    with pytest.raises(ServeError, match="cannot answer within 5 ms"):
        size(SizingConfig(p95_ms=5), measured(0.0))


def test_a_real_server_is_measured(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    rows = Bundle.load(tmp_path / "bundle").example_rows()
    found = capacity(tmp_path / "bundle", rows, p95_ms=500.0, trial_s=0.2, max_rate=100.0)
    assert found.rps > 0
    assert found.trials[0].num_failed == 0
    assert 50 < found.memory_mb < 1000
    assert size(SizingConfig(rps=10), found).replicas == 2


def test_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="no example rows"):
        capacity(tmp_path, [], 10)
