"""The process that does jobs stands back from its start on, before anything is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from luban.serve.config import ServeConfig
from luban.serve.jobs.job_process import _process
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger


@pytest.mark.parametrize("nice", [0, 7])
def test_it_stands_back_as_its_setting_says(nice: int, tmp_path: Path) -> None:
    home = Home(Store(str(tmp_path / "store"), "default"), Ledger(tmp_path / "ledger.db"))
    config = ServeConfig.model_validate({"jobs": {"nice": nice, "idle_s": 0}})
    with _process(home, config, tmp_path) as process:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.nice(0) + nice)
