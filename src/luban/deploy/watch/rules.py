"""Rules for Prometheus: what is recorded, and when somebody is told.

All rules are about one job (the servers of one deployment). What counts are questions to a model, whatever the
protocol; a request that was refused for what it was (4xx) is no failure of the server, one that was sent away
because the server was full (503) is. A question is slow if it took longer than `serve.slo.p95_ms`, which is
a bound of the histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from luban.deploy.base import Deployment
from luban.deploy.watch.burn import BURNS, MIN_FAILURES, PERIOD_DAYS, WINDOWS, Burn
from luban.deploy.watch.words import say
from luban.serve.learning.learning import SHOWN_S
from luban.serve.watch.slo import LATENCY_SHARE, needs_bound

Rule = dict[str, Any]
ROUTES = ".*([Pp]redict|[Ii]nfer)"
"""Routes that ask a model, of all protocols."""
PAGE, TICKET = "page", "ticket"
NOTHING: Mapping[str, str | int] = {}


class Rules:
    """The rules of one deployment, scraped as `job`."""

    def __init__(self, plan: Deployment, job: str) -> None:
        self._slo = plan.serve.slo
        self._memory_bytes = plan.config.memory_mb * 2**20
        self._language = plan.language
        # Labels are templates of Go: braces in a name must stay what they are.
        self._owner = plan.owner.replace("{{", '{{"{{"}}')
        self._one = f'job="{job}"'
        self._asked = f'job="{job}",route=~"{ROUTES}"'
        self._bound = str(needs_bound(self._slo))
        self._job = job

    def recorded(self) -> dict[str, Any]:
        """The file of recording rules."""
        rules = [rule for window in WINDOWS for rule in self._ratios(window)]
        return {"groups": [{"name": f"{self._job}-promises", "rules": rules}]}

    def alerts(self) -> dict[str, Any]:
        """The file of alerting rules."""
        groups = {
            "availability": [self._burning("errors", 1 - self._slo.availability, burn) for burn in BURNS],
            "latency": [self._burning("slow", 1 - LATENCY_SHARE, burn) for burn in BURNS],
            "server": list(self._server()),
            "model": list(self._model()),
        }
        return {"groups": [{"name": f"{self._job}-{name}", "rules": rules} for name, rules in groups.items()]}

    def _ratios(self, window: str) -> Iterator[Rule]:
        counted = f"luban_requests_total{{{self._asked}}}[{window}]"
        failed = f'luban_requests_total{{{self._asked},status=~"5.."}}[{window}]'
        answered = f'{{{self._asked},outcome="ok"}}[{window}]'
        quick = f'luban_request_seconds_bucket{{{self._asked},outcome="ok",le="{self._bound}"}}[{window}]'
        yield {
            "record": f"luban:errors:ratio_rate{window}",
            "expr": f"(sum by (job) (rate({failed})) or 0 * sum by (job) (rate({counted})))"
            f" / sum by (job) (rate({counted}))",
        }
        yield {
            "record": f"luban:slow:ratio_rate{window}",
            "expr": f"1 - sum by (job) (rate({quick})) / sum by (job) (rate(luban_request_seconds_count{answered}))",
        }

    def _burning(self, what: str, budget: float, burn: Burn) -> Rule:
        limit = f"{burn.limit(budget):.9g}"
        both = " and ".join(
            f"luban:{what}:ratio_rate{window}{{{self._one}}} > {limit}" for window in (burn.long, burn.short)
        )
        bad = self._bad(what, burn.long)
        name = {"errors": "LubanErrorBudgetBurns", "slow": "LubanLatencyBudgetBurns"}[what]
        promise = f"{self._slo.availability * 100:.6g} %" if what == "errors" else f"{self._slo.p95_ms:g} ms"
        facts: dict[str, str | int] = {
            "promise": promise,
            "rate": f"{burn.rate:g}",
            "long": burn.long,
            "days": PERIOD_DAYS,
        }
        found = self._alert(name, f"{both} and {bad} >= {MIN_FAILURES}", burn.severity, what, facts=facts)
        found["labels"] |= {"long": burn.long, "short": burn.short}
        return found

    def _bad(self, what: str, window: str) -> str:
        """How many bad requests there were."""
        if what == "errors":
            return f'sum by (job) (increase(luban_requests_total{{{self._asked},status=~"5.."}}[{window}]))'
        ok = f'{self._asked},outcome="ok"'
        return (
            f"(sum by (job) (increase(luban_request_seconds_count{{{ok}}}[{window}])) - "
            f'sum by (job) (increase(luban_request_seconds_bucket{{{ok},le="{self._bound}"}}[{window}])))'
        )

    def _server(self) -> Iterator[Rule]:
        one = self._one
        yield self._alert("LubanDown", f"up{{{one}}} == 0", PAGE, "down", "2m")
        yield self._alert("LubanGone", f"absent(up{{{one}}})", PAGE, "gone", "5m")
        yield self._alert("LubanNotReady", f"luban_ready{{{one}}} == 0", PAGE, "not-ready", "5m")
        full = f"luban_queue_requests{{{one}}} / luban_queue_limit_requests{{{one}}} > 0.8"
        yield self._alert("LubanQueueFull", full, TICKET, "queue", "2m")
        away = f'sum by (job, kind) (increase(luban_problems_total{{{one},kind=~"busy|overloaded"}}[5m])) > 0'
        yield self._alert("LubanSendsAway", away, TICKET, "busy", "5m")
        memory = f"process_resident_memory_bytes{{{one}}} > {0.9 * self._memory_bytes:.0f}"
        yield self._alert("LubanMemory", memory, TICKET, "memory", "10m", {"mb": self._memory_bytes >> 20})
        yield self._alert("LubanLimitsLost", f"luban_limits_lost{{{one}}} == 1", TICKET, "lost", "5m")
        yield self._alert("LubanModelHangs", f"luban_hung_threads{{{one}}} > 0", PAGE, "hangs", "2m")
        dropped = f"increase(luban_records_dropped_total{{{one}}}[10m]) > 0"
        yield self._alert("LubanRecordsDropped", dropped, TICKET, "dropped")
        failed = f'delta(luban_jobs{{{one},status="failed"}}[1h]) > 0'
        yield self._alert("LubanJobsFail", failed, TICKET, "jobs")

    def _model(self) -> Iterator[Rule]:
        one, days = self._one, round(SHOWN_S / 86_400)
        yield self._alert("LubanModelStale", f"luban_model_stale{{{one}}} == 1", TICKET, "stale", "10m")
        refused = f"increase(luban_model_refusals_total{{{one}}}[15m]) > 0"
        yield self._alert("LubanBundleRefused", refused, TICKET, "refused")
        yield self._alert("LubanBreakerOpen", f"luban_breaker_open{{{one}}} > 0", PAGE, "breaker", "1m")
        if not self._slo.wants_truth:
            return
        asked = f"sum by (job, model) (increase(luban_model_requests_total{{{one}}}[{days}d])) > 0"
        told = f"sum by (job, model) (luban_truths{{{one}}}) > 0"
        yield self._alert("LubanNoTruth", f"({asked}) unless ({told})", TICKET, "no-truth", "1h", {"days": days})

    def _alert(
        self, name: str, expr: str, severity: str, word: str, after: str = "", facts: Mapping[str, str | int] = NOTHING
    ) -> Rule:
        labels = {"severity": severity} | ({"owner": self._owner} if self._owner else {})
        told = {
            "summary": say(f"{word}.summary", self._language).format_map(facts),
            "description": say(f"{word}.todo", self._language).format_map(facts),
        }
        return {"alert": name, "expr": expr, **({"for": after} if after else {}), "labels": labels, "annotations": told}
