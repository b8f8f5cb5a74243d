"""How many servers a load needs."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.tiny import write_tiny

from luban.bundle.bundle import Bundle
from luban.deploy.capacity import Capacity, _search, capacity, server
from luban.deploy.load import Load, drive, request_bytes
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


def test_several_processes_in_one_machine_are_several_workers() -> None:
    config = SizingConfig(rps=5000, cores=4)
    text = "\n".join(described(config, measured(), size(config, measured())))
    assert "cpus: 3" in text
    assert "serve: {workers: 3}" in text, "one worker alone would leave the other cores idle"
    assert "workers" not in "\n".join(described(SizingConfig(), measured(), size(SizingConfig(), measured())))


def test_a_busy_machine_is_said() -> None:
    busy = replace(measured(), limited_by="machine")
    assert "Measure again when the machine is idle" in "\n".join(
        described(SizingConfig(), busy, size(SizingConfig(), busy))
    )
    with pytest.raises(ServeError, match="busy with other work"):
        size(SizingConfig(), replace(busy, rps=0.0))


def test_a_server_that_waits_for_its_core_is_told_from_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def limited_by(worked_s: float, waited_s: float) -> str:
        states = iter([(0.0, 0.0), (worked_s, waited_s)] * 100)
        times = itertools.count(0.0, 1.0)
        slow = Load(25.0, seconds=[1.0] * 10, statuses=Counter({200: 10}))
        monkeypatch.setattr("luban.deploy.capacity._scheduled_s", lambda pid: next(states))
        monkeypatch.setattr("luban.deploy.capacity.drive", lambda *words: slow)
        monkeypatch.setattr("luban.deploy.capacity.time.perf_counter", lambda: next(times))
        trials, found = _search("http://x", [b""], 20.0, 1.0, 100.0, 1)
        assert not any(trial.held for trial in trials)
        return found

    assert limited_by(0.9, 0.9) == "server", "at its limit it waits for itself, too"
    assert limited_by(0.3, 0.4) == "machine"
    assert limited_by(0.3, 0.05) == "server", "a model that is slow, not a machine that is busy"


def test_a_key_in_the_environment_does_not_stop_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path / "bundle")
    monkeypatch.setenv("LUBAN_API_KEY", "0123456789abcdef0123456789abcdef")
    with server(tmp_path / "bundle") as (address, _, _):
        rows = Bundle.load(tmp_path / "bundle").example_rows()
        body = json.dumps({"rows": rows[:1]}).encode()
        assert drive(address, [request_bytes(address, "/v1/predict", body)], 20, 0.2, 1).num_failed == 0


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
    found = capacity(
        tmp_path / "bundle", rows, p95_ms=5000.0, trial_s=0.2, max_rate=100.0
    )  # 0.5 s may pass on a busy machine
    assert found.rps > 0
    assert found.trials[0].num_failed == 0
    assert 50 < found.memory_mb < 1000
    assert size(SizingConfig(rps=10), found).replicas == 2


def test_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="no example rows"):
        capacity(tmp_path, [], 10)
