"""The table of all figures of a server: name, kind, labels, and how those of several workers become one.

Names and units follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): seconds, bytes and
ratios, `_total` for what only grows. A part of the server that has something to tell has a method `figures()` that
gives samples of names that stand here; it is asked when somebody scrapes, so that the hot path pays for plain
counting alone. Labels take few values: routes, kinds, arms, classes up to a limit; never a caller, a row or a
request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from luban.serve.watch.tally import Tally

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Over: TypeAlias = Literal["sum", "max", "min"]
ARM = ("model", "version", "arm")


@dataclass(frozen=True)
class Figure:
    """One figure. `over` says how gauges of several workers become one; counters and histograms are added."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    over: Over = "sum"


class Sample(NamedTuple):
    """A value of one figure; `labels` in the order of the table."""

    name: str
    labels: tuple[str, ...]
    value: float | Tally


class Source(Protocol):
    """Whatever has figures to tell. Asked at each scrape, in the event loop's thread: must not block."""

    def figures(self) -> Iterable[Sample]:
        """What it knows now."""


FIGURES: dict[str, Figure] = {
    # requests, whatever they ask for
    "luban_requests_total": Figure("counter", "Requests by route and status.", ("route", "status")),
    "luban_request_seconds": Figure("histogram", "Time from a request's head to its answer.", ("route", "outcome")),
    "luban_open_requests": Figure("gauge", "Requests that were let in and are not answered yet."),
    "luban_problems_total": Figure("counter", "Requests without an answer, by kind of problem.", ("kind",)),
    # questions to a model
    "luban_model_requests_total": Figure("counter", "Questions to a model, by outcome.", (*ARM, "outcome")),
    "luban_model_request_seconds": Figure("histogram", "Time of an answered question, waiting included.", ARM),
    "luban_rows_total": Figure("counter", "Rows that were asked.", ARM),
    "luban_row_errors_total": Figure("counter", "Rows that got an error for an answer.", ARM),
    "luban_answers_total": Figure("counter", "Answers by value of the first column, for classes.", (*ARM, "value")),
    "luban_answer_confidence_ratio": Figure("histogram", "Confidence of answers.", ARM),
    "luban_rows_outside_total": Figure("counter", "Rows outside of what the model was trained on.", ARM),
    "luban_rows_marked_total": Figure("counter", "Rows marked for review.", ARM),
    # waiting, batches, the graph
    "luban_queue_requests": Figure("gauge", "Questions that wait for a model."),
    "luban_queue_limit_requests": Figure("gauge", "Questions that may wait before others are sent away."),
    "luban_queue_seconds": Figure("histogram", "Time that questions waited for the model.", ("model",)),
    "luban_batch_rows": Figure("histogram", "Rows that were asked together.", ("model",)),
    "luban_model_run_seconds": Figure("histogram", "Time of one batch in the model.", ("model", "version")),
    # the response cache
    "luban_cache_hits_total": Figure("counter", "Rows answered from the response cache.", ("model",)),
    "luban_cache_misses_total": Figure("counter", "Rows looked for in the response cache, and not found.", ("model",)),
    "luban_cache_entries": Figure("gauge", "Answers in the response cache."),
    "luban_cache_bytes": Figure("gauge", "Memory of the response cache, estimated."),
    # guards
    "luban_shed_requests_total": Figure("counter", "Questions sent away because too many were under way."),
    "luban_concurrency_limit_requests": Figure("gauge", "Questions that may be under way at once."),
    "luban_limited_requests_total": Figure("counter", "Questions refused by the limit of their caller."),
    "luban_limits_lost": Figure("gauge", "1 while Redis, which counts for several servers, is gone.", (), "max"),
    "luban_hung_threads": Figure("gauge", "Threads that were given up because a model does not end."),
    "luban_breaker_open": Figure("gauge", "1 where the breaker of a model is open, 0.5 half open.", ("model",), "max"),
    # models
    "luban_ready": Figure("gauge", "1 if a model is loaded.", (), "min"),
    "luban_model_info": Figure("gauge", "The version that answers.", ("model", "version", "identity"), "max"),
    "luban_model_version": Figure("gauge", "Number of the version that answers.", ("model",), "min"),
    "luban_model_stale": Figure("gauge", "1 if the newest version could not be loaded.", ("model",), "max"),
    "luban_model_loads_total": Figure("counter", "Bundles loaded since the start.", ("model",)),
    "luban_model_refusals_total": Figure("counter", "Bundles refused since the start.", ("model",)),
    "luban_loaded_models": Figure("gauge", "Versions of models in memory.", (), "max"),
    "luban_model_unloads_total": Figure("counter", "Versions that were unloaded, unasked or for want of memory."),
    "luban_model_memory_bytes": Figure("gauge", "Memory of a loaded version, estimated.", ("model", "version")),
    "luban_memory_limit_bytes": Figure("gauge", "Memory that loaded models may take, 0 for any."),
    "luban_arm_weight_ratio": Figure("gauge", "Share of questions that an arm gets.", ARM, "max"),
    "luban_shadow_answers_total": Figure("counter", "Answers of a shadow, by agreement.", (*ARM, "agrees")),
    "luban_shadow_failures_total": Figure("counter", "Requests that a shadow failed to answer.", ARM),
    "luban_shadow_dropped_total": Figure("counter", "Replies that were not compared, for want of room.", ARM),
    "luban_shadow_difference_ratio": Figure("gauge", "Mean absolute difference of a shadow's numbers.", ARM, "max"),
    # records, review, truth
    "luban_records_waiting": Figure("gauge", "Answers that wait to be recorded."),
    "luban_records_written_total": Figure("counter", "Answers that were recorded."),
    "luban_records_dropped_total": Figure("counter", "Answers that were not recorded, for want of room."),
    "luban_records_skipped_total": Figure("counter", "Answers that were not recorded, as `max_per_s` wants it."),
    "luban_reviews": Figure("gauge", "Rows in the review queue.", ("model", "status"), "max"),
    "luban_truths": Figure("gauge", "Answers of the last 7 days whose truth is known.", ("model", "version"), "max"),
    "luban_live_accuracy_ratio": Figure("gauge", "Share of these that were right.", ("model", "version"), "max"),
    "luban_jobs": Figure("gauge", "Jobs by status.", ("status",), "max"),
    # the server
    "luban_workers": Figure("gauge", "Worker processes."),
    "luban_build_info": Figure("gauge", "Luban's version.", ("version",), "max"),
    "process_resident_memory_bytes": Figure("gauge", "Resident memory."),
    "process_virtual_memory_bytes": Figure("gauge", "Virtual memory."),
    "process_cpu_seconds_total": Figure("counter", "Processor time."),
    "process_open_fds": Figure("gauge", "Open file descriptors."),
    "process_max_fds": Figure("gauge", "Most file descriptors that may be open.", (), "min"),
    "process_start_time_seconds": Figure("gauge", "When the process began, in seconds since 1970.", (), "min"),
}
