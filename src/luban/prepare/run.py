"""From raw rows to a dataset: read, name, clean, parse, judge, split, write.

    source.read() → row steps → parse → set steps → split → files

Decided here: nothing vanishes: rows found = rows kept + rows in quarantine, by rule; a dataset for which
that is not so is not written. Memory is bounded by arrays of a few numbers a row; values stay on disk.
Knows no step, no column type and no model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import luban
from luban.data.config import DataConfig
from luban.data.dataset import Dataset
from luban.data.infer import head
from luban.data.sources.base import RawBatch, Source
from luban.engine.base import Engine
from luban.errors import DataError
from luban.prepare.config import PrepareConfig
from luban.prepare.decisions import Decisions
from luban.prepare.ingest import Ingested, check_columns, drop_without_input, ingest, one_class
from luban.prepare.parts import Parts, choose, deal, drop_timeless
from luban.prepare.plan import Plan, make_plan
from luban.prepare.quarantine import Quarantine
from luban.prepare.report import Outcome, publish
from luban.prepare.sets import judge, occurrences
from luban.prepare.write import Written, write
from luban.store.durable import writing

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of all that is done, 0 to 1."""


def prepare(
    source: Source,
    data: DataConfig,
    config: PrepareConfig,
    out: Path,
    *,
    seed: int,
    engine: Engine,
    progress: Progress = lambda what, share: None,
) -> Dataset:
    """Write a dataset into the folder `out`, which must exist and be empty.

    The same rows, config and seed give the same dataset, on any number of workers. Raises DataError
    or ConfigError with what is wrong with the data or the configuration, StoreError for a full disk.
    """
    with writing("the dataset", out), tempfile.TemporaryDirectory(dir=out, prefix="spool-") as spool:
        _Job(source, data, config, out, Path(spool), seed, engine, progress).run()
    return Dataset(out)


@dataclass(frozen=True)
class _Job:
    source: Source
    data: DataConfig
    config: PrepareConfig
    out: Path
    spool: Path
    seed: int
    engine: Engine
    progress: Progress

    def run(self) -> None:
        """All passes, one after another."""
        batches = self.source.read()
        first = head(batches, self.config.sample_rows)
        plan = make_plan(first.sample, self.data, self.config)
        choose(plan.schema, self.config.split)  # says now rather than after an hour that a column is missing
        quarantine = Quarantine(self.out / "quarantine.parquet")
        try:
            found = self._ingest(chain(first.batches, batches), plan, quarantine)
            check_columns(found, plan, self.config.max_bad_share, first.sample)
            decisions = found.decisions()
            plan = self._without_constants(found, plan, decisions)
            written, parts = self._judge_and_write(found, plan, decisions, quarantine)
        finally:
            quarantine.close()
        self._check(found, plan, decisions, written)
        publish(self.out, Outcome(plan, found, decisions, parts, written), self._lineage())

    def _ingest(self, batches: Iterator[RawBatch], plan: Plan, quarantine: Quarantine) -> Ingested:
        def tell(rows: int) -> None:
            self.progress(f"reading and cleaning: {rows:,} rows", 0.0)

        return ingest(batches, plan, self.engine, self.config.num_workers, self.spool, quarantine.reject, tell)

    def _without_constants(self, found: Ingested, plan: Plan, decisions: Decisions) -> Plan:
        """The plan without inputs that have nothing to learn from, but for those that were asked for."""
        reasons = {
            column.name: why
            for column in plan.schema.inputs
            if column.name not in plan.stated and (why := found.varied[column.name].nothing_to_learn())
        }
        if reasons:
            plan = plan.demoted(reasons, self.config)
            drop_without_input(found.parsed, plan, decisions)
        if not plan.schema.inputs:
            why = "; ".join(f"`{c.name}` is {c.role}: {plan.reasons[c.name]}" for c in plan.schema.columns)
            raise DataError(f"There is no column to learn from: {why}.", "Say what is an input under `data.columns`.")
        return plan

    def _judge_and_write(
        self, found: Ingested, plan: Plan, decisions: Decisions, quarantine: Quarantine
    ) -> tuple[Written, Parts]:
        self.progress("naming rows", 0.4)
        numbers = occurrences(found.parsed, self.engine, self.spool)
        for name in judge(plan, found.parsed, decisions, self.engine, self.spool):
            self.progress(name, 0.5)
        way = choose(plan.schema, self.config.split)
        drop_timeless(way, found.parsed, decisions)
        if not decisions.kept.any():
            raise DataError(f"No row is left: {_by_rule(decisions)}.", "Look at the report, or leave out steps.")
        self.progress("splitting", 0.6)
        parts = deal(way, found.parsed, numbers, decisions, plan.schema, self.config.split, self.seed)

        def tell(share: float) -> None:
            self.progress("writing rows", 0.7 + 0.3 * share)

        written = write(found, plan.schema, numbers, decisions, parts, self.out, quarantine, tell)
        return written, parts

    def _check(self, found: Ingested, plan: Plan, decisions: Decisions, written: Written) -> None:
        kept, aside = sum(written.splits.values()), sum(decisions.counts().values())
        assert found.raw.num_rows == kept + aside, "a row has vanished"
        for part, share in (("test", self.config.split.test), ("valid", self.config.split.valid)):
            if share and not written.splits[part]:
                raise DataError(
                    f"The split leaves no {part} rows: {kept} rows are too few to deal out.",
                    f"Bring more rows, some hundred at least, or raise `prepare.split.{part}` ({share:g}).",
                )
        if written.class_counts is None or plan.schema.target is None:
            return
        trained = [value for value, count in written.class_counts["train"].items() if count]
        if len(trained) < 2:
            everywhere = {value for counts in written.class_counts.values() for value, count in counts.items() if count}
            if len(everywhere) < 2:
                raise one_class(plan.schema.target.name, trained[0])
            raise DataError(
                f"All training rows are of one class, `{trained[0]}`.", "Split another way: `prepare.split.by`."
            )

    def _lineage(self) -> dict[str, Any]:
        return {
            "source": {"fingerprint": self.source.fingerprint(), "pins": self.source.pins()},
            "data": self.data.identity(),
            "prepare": self.config.identity(),
            "seed": self.seed,
            "luban": luban.__version__,
        }


def _by_rule(decisions: Decisions) -> str:
    return ", ".join(f"{count} set aside by {rule}" for rule, count in decisions.counts().items())
