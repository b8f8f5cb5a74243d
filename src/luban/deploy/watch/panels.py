"""What the dashboard shows: rows of panels, each a few PromQL queries with a unit.

`$model` and `$instance` are the dashboard's own variables; `$__rate_interval` is Grafana's (four scrapes at least).
"""

from __future__ import annotations

from dataclasses import dataclass

from luban.deploy.watch.burn import PERIOD_DAYS
from luban.deploy.watch.rules import ROUTES


@dataclass(frozen=True)
class Panel:
    """One panel: `word` names its title in `words.py`; queries are (PromQL, legend); `width` of 24."""

    word: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def panels(job: str, budget: float) -> list[tuple[str, list[Panel]]]:
    """Rows of panels, each with the word of its title; `budget` is the share of requests that may fail."""
    here = f'job="{job}",instance=~"$instance"'
    model = f'{here},model=~"$model"'
    return [
        ("row.promise", _promise(f'job="{job}"', budget)),
        ("row.requests", _requests(here)),
        ("row.model", _model(model)),
        ("row.queue", _queue(here, model)),
        ("row.guards", _guards(here, model)),
        ("row.traffic", _traffic(here, model)),
        ("row.server", _server(here, model)),
    ]


def _rate(name: str, labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{{{labels}}}[$__rate_interval]))"


def _quantile(share: float, name: str, labels: str, by: str = "le") -> str:
    return f"histogram_quantile({share}, {_rate(f'{name}_bucket', labels, by)})"


def _promise(job: str, budget: float) -> list[Panel]:
    asked = f'{job},route=~"{ROUTES}"'
    failed = f'sum(increase(luban_requests_total{{{asked},status=~"5.."}}[{PERIOD_DAYS}d]))'
    counted = f"sum(increase(luban_requests_total{{{asked}}}[{PERIOD_DAYS}d]))"
    left = f"1 - (({failed} or vector(0)) / {counted}) / {budget:.9g}"
    return [
        Panel("budget", ((left, ""),), "percentunit", "stat", 5),
        Panel("availability", ((f"1 - luban:errors:ratio_rate1h{{{job}}}", ""),), "percentunit", "stat", 5),
        Panel("quick", ((f"1 - luban:slow:ratio_rate1h{{{job}}}", ""),), "percentunit", "stat", 5),
        Panel("ready", ((f"sum(luban_ready{{{job}}})", ""),), "short", "stat", 4),
        Panel("alerts", ((f'sum(ALERTS{{{job},alertstate="firing"}}) or vector(0)', ""),), "short", "stat", 5),
    ]


def _requests(here: str) -> list[Panel]:
    seconds = "luban_request_seconds"
    quantiles = tuple((_quantile(share, seconds, here), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))
    return [
        Panel("rate", ((_rate("luban_requests_total", here, "route"), "{{route}}"),), "reqps", stacked=True),
        Panel("status", ((_rate("luban_requests_total", here, "status"), "{{status}}"),), "reqps", stacked=True),
        Panel("problems", ((_rate("luban_problems_total", here, "kind"), "{{kind}}"),), "reqps", stacked=True),
        Panel("duration", quantiles, "s"),
        Panel("duration.route", ((_quantile(0.95, seconds, here, "le, route"), "{{route}}"),), "s"),
        Panel("open", ((f"sum by (instance) (luban_open_requests{{{here}}})", "{{instance}}"),)),
    ]


def _model(model: str) -> list[Panel]:
    arm, legend = "model, version, arm", "{{model}} v{{version}} {{arm}}"
    seconds = _quantile(0.95, "luban_model_request_seconds", model, f"le, {arm}")
    run = _quantile(0.95, "luban_model_run_seconds", model, "le, model, version")
    versions = f"sum by (model, version) (luban_model_info{{{model}}})"
    confidence = f"sum by (le) (increase(luban_answer_confidence_ratio_bucket{{{model}}}[$__rate_interval]))"
    failed = f'{model},outcome!="answered"'
    return [
        Panel("questions", ((_rate("luban_model_requests_total", model, arm), legend),), "reqps", stacked=True),
        Panel("failed", ((_rate("luban_model_requests_total", failed, f"{arm}, outcome"), legend),), "reqps"),
        Panel("arm.duration", ((seconds, legend),), "s"),
        Panel("run", ((run, "{{model}} v{{version}}"),), "s"),
        Panel("classes", ((_rate("luban_answers_total", model, "value"), "{{value}}"),), "short", stacked=True),
        Panel("confidence", ((confidence, "{{le}}"),), "short", "heatmap"),
        Panel(
            "row.errors",
            ((_rate("luban_rows_total", model, "model"), "{{model}}"),
             (_rate("luban_row_errors_total", model, "model"), "{{model}} ✗")),
        ),
        Panel(
            "outside",
            ((_rate("luban_rows_outside_total", model, arm), legend),
             (_rate("luban_rows_marked_total", model, arm), f"{legend} ?")),
        ),
        Panel("version", ((versions, "{{model}} v{{version}}"),)),
    ]  # fmt: skip


def _queue(here: str, model: str) -> list[Panel]:
    waiting = f"sum by (instance) (luban_queue_requests{{{here}}})"
    limit = f"min(luban_queue_limit_requests{{{here}}})"
    seconds = "luban_queue_seconds"
    rows, batches = (_rate(f"luban_batch_rows_{part}", model, "model") for part in ("sum", "count"))
    hits, misses = (_rate(f"luban_cache_{what}_total", model, "model") for what in ("hits", "misses"))
    return [
        Panel("queue", ((waiting, "{{instance}}"), (limit, "max"))),
        Panel("waiting", tuple((_quantile(s, seconds, model), f"p{s * 100:g}") for s in (0.5, 0.95)), "s"),
        Panel("batch", ((f"{rows} / {batches}", "{{model}}"),)),
        Panel("cache", ((f"{hits} / ({hits} + {misses})", "{{model}}"),), "percentunit", width=12),
        Panel("cache.size", ((f"sum by (instance) (luban_cache_entries{{{here}}})", "{{instance}}"),), width=12),
    ]


def _guards(here: str, model: str) -> list[Panel]:
    shed, limited = (_rate(f"luban_{what}_requests_total", here, "instance") for what in ("shed", "limited"))
    limit = f"sum by (instance) (luban_concurrency_limit_requests{{{here}}})"
    lost = f"max by (instance) (luban_limits_lost{{{here}}})"
    hung = f"sum by (instance) (luban_hung_threads{{{here}}})"
    return [
        Panel("shed", ((shed, "{{instance}} shed"), (limited, "{{instance}} limited")), "reqps"),
        Panel("concurrency", ((limit, "{{instance}}"),)),
        Panel("breaker", ((f"max by (model, instance) (luban_breaker_open{{{model}}})", "{{model}} {{instance}}"),)),
        Panel("lost", ((lost, "{{instance}} Redis"), (hung, "{{instance}} threads")), width=24),
    ]


def _traffic(here: str, model: str) -> list[Panel]:
    arm, legend = "model, version, arm", "{{model}} v{{version}} {{arm}}"
    agrees = _rate("luban_shadow_answers_total", f'{model},agrees="yes"', arm)
    failed, unseen = (_rate(f"luban_shadow_{what}_total", model, arm) for what in ("failures", "dropped"))
    dropped, skipped = (_rate(f"luban_records_{what}_total", here, "instance") for what in ("dropped", "skipped"))
    return [
        Panel("weights", ((f"max by ({arm}) (luban_arm_weight_ratio{{{model}}})", legend),), "percentunit"),
        Panel("shadow", ((f"{agrees} / {_rate('luban_shadow_answers_total', model, arm)}", legend),), "percentunit"),
        Panel("shadow.off", ((f"max by ({arm}) (luban_shadow_difference_ratio{{{model}}})", legend),)),
        Panel("shadow.failed", ((failed, f"{legend} ✗"), (unseen, f"{legend} …"))),
        Panel(
            "accuracy",
            ((f"max by (model, version) (luban_live_accuracy_ratio{{{model}}})", "{{model}} v{{version}}"),),
            "percentunit",
        ),
        Panel("truths", ((f"max by (model, version) (luban_truths{{{model}}})", "{{model}} v{{version}}"),)),
        Panel("reviews", ((f"max by (model, status) (luban_reviews{{{model}}})", "{{model}} {{status}}"),)),
        Panel("jobs", ((f"max by (status) (luban_jobs{{{here}}})", "{{status}}"),), width=4),
        Panel(
            "records",
            (
                (f"sum by (instance) (luban_records_waiting{{{here}}})", "{{instance}}"),
                (dropped, "{{instance}} ✗"),
                (skipped, "{{instance}} …"),
            ),
            width=4,
        ),
    ]


def _server(here: str, model: str) -> list[Panel]:
    hourly = ("loads", "refusals")
    return [
        Panel("memory", ((f"process_resident_memory_bytes{{{here}}}", "{{instance}}"),), "bytes"),
        Panel(
            "model.memory",
            ((f"max by (model, version) (luban_model_memory_bytes{{{model}}})", "{{model}} v{{version}}"),
             (f"max(luban_memory_limit_bytes{{{here}}}) > 0", "max")),
            "bytes",
        ),
        Panel(
            "loaded",
            ((f"max(luban_loaded_models{{{here}}})", "loaded"),
             *((f"sum(increase(luban_model_{what}_total{{{model}}}[1h]))", what) for what in hourly),
             (f"sum(increase(luban_model_unloads_total{{{here}}}[1h]))", "unloads")),
        ),
        Panel("cpu", ((f"rate(process_cpu_seconds_total{{{here}}}[$__rate_interval])", "{{instance}}"),)),
        Panel("workers", ((f"luban_workers{{{here}}}", "{{instance}}"),)),
        Panel("files", ((f"process_open_fds{{{here}}}", "{{instance}}"),)),
    ]  # fmt: skip
