"""Watching: rules that fire when they should and not else, a dashboard whose every query means something.

Prometheus itself judges: promtool checks and runs the rules, a real server is scraped by a real Prometheus.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard
from pydantic import ValidationError
from tests.serve.tiny import write_tiny

from luban.deploy.base import Deployment
from luban.deploy.config import DeployConfig
from luban.deploy.watch.burn import BURNS, hours
from luban.deploy.watch.target import DASHBOARD, RULES, Monitoring, job_of
from luban.deploy.watch.words import WORDS
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.server import serving
from luban.serve.watch.figures import FIGURES
from luban.serve.watch.slo import SloConfig
from ports import free_port
from waiting import until

PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(
    PROMTOOL is None or PROMETHEUS is None, reason="prometheus is not installed (Debian package prometheus)"
)
_NAME = re.compile(r"\b(?:luban|process)_[a-z_]+\b")
_RECORDED = re.compile(r"\bluban:[a-z_]+:[a-z0-9_]+")


def plan(language: Any = "en", **slo: Any) -> Deployment:
    return Deployment(
        name="reviews", owner="the {{ team }}", purpose="Route unhappy guests.", luban="0.1.0", python="3.11",
        serve=ServeConfig(slo=SloConfig(**slo)), config=DeployConfig(memory_mb=512), language=language,
    )  # fmt: skip


def written(folder: Path, found: Deployment, **settings: Any) -> Path:
    for file in Monitoring(Monitoring.Config(**settings)).files(found):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, "utf-8")
    return folder


def promtool(*arguments: object, cwd: Path) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def queries(found: dict[str, Any]) -> list[str]:
    expressions = [target["expr"] for panel in found["panels"] for target in panel.get("targets", ())]
    return [*expressions, *(one["expr"] for one in found["annotations"]["list"])]


def plain(expression: str) -> str:
    """A query of the dashboard as Prometheus gets it."""
    return expression.replace("$__rate_interval", "1m").replace("$model", ".*").replace("$instance", ".*")


def names(expression: str) -> set[str]:
    """Names of figures, without those of Prometheus' own suffixes for histograms."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in _NAME.findall(re.sub(r'"[^"]*"', "", expression))}


@needs_prometheus
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("slo", [{}, {"availability": 0.5, "p95_ms": 33}, {"availability": 0.99999, "p95_ms": 60_000}])
def test_promtool_finds_no_fault_in_configuration_and_rules(tmp_path: Path, language: Any, slo: dict[str, Any]) -> None:
    (tmp_path / "key").write_text("not a key")
    settings = {"key_file": "key", "https": True, "alertmanagers": ("127.0.0.1:9093",), "servers": ("a:1", "b:2")}
    written(tmp_path, plan(language, **slo), **settings)
    assert promtool("check", "config", "prometheus.yml", cwd=tmp_path).count("SUCCESS") == 4
    scrape = yaml.safe_load((tmp_path / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    assert (scrape["scheme"], scrape["static_configs"]) == ("https", [{"targets": ["a:1", "b:2"]}])


@dataclass
class Case:
    """What is scraped once a minute (half as often where `at` is days), and which alerts fire then.

    All is well but for `series`.
    """

    name: str
    series: dict[str, str]
    fires: set[str]
    at: str = "70m"


STALE, REFUSED = 'luban_model_stale{model="reviews"}', 'luban_model_refusals_total{model="reviews"}'
TRUTHS = 'luban_truths{model="reviews",version="1"}'
MODEL = 'luban_model_requests_total{model="reviews",outcome="answered"}'
WELL = {
    "up": "1x6000", "luban_ready": "1x6000", 'luban_model_stale{model="reviews"}': "0x6000",
    "luban_limits_lost": "0x6000", "luban_hung_threads": "0x6000",
    "luban_queue_requests": "1x6000", "luban_queue_limit_requests": "64x6000",
    'luban_breaker_open{model="reviews"}': "0x6000", "process_resident_memory_bytes": "2e8x6000",
    'luban_model_refusals_total{model="reviews"}': "0x6000", 'luban_problems_total{kind="busy"}': "0x6000",
    "luban_records_dropped_total": "0x6000", 'luban_jobs{status="failed"}': "2x6000",
    TRUTHS: "40x6000",
    MODEL: "0+6000x6000",
    'luban_requests_total{route="/v1/predict",status="200"}': "0+6000x6000",
    'luban_requests_total{route="/v1/predict",status="503"}': "0x6000",
    'luban_requests_total{route="/health",status="200"}': "0+60x6000",
    'luban_request_seconds_bucket{route="/v1/predict",outcome="ok",le="0.1"}': "0+5900x6000",
    'luban_request_seconds_count{route="/v1/predict",outcome="ok"}': "0+6000x6000",
}  # fmt: skip
FAILED = 'luban_requests_total{route="/v1/predict",status="503"}'
QUICK = 'luban_request_seconds_bucket{route="/v1/predict",outcome="ok",le="0.1"}'
E, S = "LubanErrorBudgetBurns", "LubanLatencyBudgetBurns"


def all_of(name: str, *windows: str) -> set[str]:
    return {f"{name} {window}" for window in windows}


def asked(route: str, status: int) -> str:
    return f'luban_requests_total{{route="{route}",status="{status}"}}'


CASES = [
    Case("all is well", {}, set()),
    Case("all is well for days", {}, set(), "80h"),
    # of 6000 a minute: 2 % fail for an hour and more; windows that began with the data burn, too
    Case("two of a hundred fail", {FAILED: "0+120x6000"}, all_of(E, "1h", "6h", "1d", "3d")),
    Case("one of two hundred fails for days", {FAILED: "0+30x6000"}, all_of(E, "1d", "3d"), "80h"),
    Case("one of five hundred fails for days", {FAILED: "0+12x6000"}, all_of(E, "3d"), "80h"),
    Case("one of two thousand fails for days", {FAILED: "0+3x6000"}, set(), "80h"),
    # an outage of half an hour that ended ten minutes ago wakes nobody any more by its short window
    Case("an outage that is over", {FAILED: "0x30 0+3000x30 90000x6000"}, all_of(E, "6h", "1d", "3d"), "70m"),
    Case(
        "three failures in a quiet night",
        {
            'luban_requests_total{route="/v1/predict",status="200"}': "0x30 0+1x6000",
            FAILED: "0x30 0+1x3 3x6000",
        },
        set(),
        "36m",
    ),
    Case("health checks that fail are no broken promise", {asked("/health", 503): "0+60x6000"}, set()),
    Case("callers' own mistakes are no broken promise", {asked("/v1/predict", 422): "0+6000x6000"}, set()),
    Case("V2 counts", {asked("/v2/models/{model}/infer", 500): "0+200x6000"}, all_of(E, "1h", "6h", "1d", "3d")),
    Case("a tenth is slow", {QUICK: "0+5400x6000"}, all_of(S, "3d")),
    Case("four of five are slow", {QUICK: "0+1200x6000"}, all_of(S, "1h", "6h", "1d", "3d")),
    Case(
        "much is wrong with the server",
        {"up": "1x60 0x6000", "luban_ready": "0x6000", "luban_queue_requests": "60x6000",
         'luban_problems_total{kind="busy"}': "0+1x6000", "process_resident_memory_bytes": "5e8x6000",
         "luban_limits_lost": "0x30 1x6000", "luban_hung_threads": "0x30 1x6000",
         "luban_records_dropped_total": "0x60 0+5x6000", 'luban_jobs{status="failed"}': "2x50 3x6000"},
        {"LubanDown", "LubanNotReady", "LubanQueueFull", "LubanSendsAway", "LubanMemory", "LubanRecordsDropped",
         "LubanJobsFail", "LubanLimitsLost", "LubanModelHangs"},
    ),
    Case(
        "and with its model",
        {STALE: "0x50 1x6000", REFUSED: "0x60 1x6000", 'luban_breaker_open{model="reviews"}': "0x60 1x6000"},
        {"LubanModelStale", "LubanBundleRefused", "LubanBreakerOpen"},
    ),
    Case(
        "what was wrong is over, or has only just begun",
        {"up": "1x69 0x6000", "luban_ready": "0x60 1x6000", "luban_queue_requests": "60x66 1x6000",
         STALE: "0x50 1x5 0x6000", REFUSED: "0x30 1x6000", 'luban_jobs{status="failed"}': "2x50 1x6000",
         "process_resident_memory_bytes": "2e8x62 5e8x6000"},
        set(),
    ),
    Case("no server at all", {"up": ""}, {"LubanGone"}),
    Case("no truth was ever looked for", {TRUTHS: ""}, {"LubanNoTruth"}, "80h"),
    Case("no truth, and no question", {TRUTHS: "", MODEL: ""}, set()),
]  # fmt: skip


@needs_prometheus
@pytest.mark.parametrize("is_long", [False, True], ids=["hours", "days"])
def test_alerts_fire_when_they_should_and_not_else(tmp_path: Path, is_long: bool) -> None:
    found = plan()
    written(tmp_path, found)
    cases = [case for case in CASES if (hours(case.at) > 2) == is_long]
    assert len(cases) >= 5
    (tmp_path / "test.yml").write_text(yaml.safe_dump(_tests(cases, job_of(found), is_long)), "utf-8")
    assert "SUCCESS" in promtool("test", "rules", "test.yml", cwd=tmp_path)


@needs_prometheus
def test_an_alert_that_fires_against_expectation_is_found(tmp_path: Path) -> None:
    found = plan()
    written(tmp_path, found)
    case = replace(next(case for case in CASES if case.name == "and with its model"), fires=set())
    (tmp_path / "test.yml").write_text(yaml.safe_dump(_tests([case], job_of(found), False)), "utf-8")
    with pytest.raises(AssertionError, match="LubanModelStale"):
        promtool("test", "rules", "test.yml", cwd=tmp_path)


def test_every_alert_is_fired_by_a_case() -> None:
    found = {file.path: file.text for file in Monitoring().files(plan())}
    alerts = [rule for group in yaml.safe_load(found[RULES[1]])["groups"] for rule in group["rules"]]
    named = {" ".join(filter(None, (rule["alert"], rule["labels"].get("long")))) for rule in alerts}
    assert named == {name for case in CASES for name in case.fires}


def _tests(cases: list[Case], job: str, is_long: bool) -> dict[str, Any]:
    tests = [_test(case, job, "2m" if is_long else "1m") for case in cases]
    order = [f"{job}-{name}" for name in ("promises", "availability", "latency", "server", "model")]
    every = "1h" if is_long else "2m"
    return {"rule_files": list(RULES), "evaluation_interval": every, "group_eval_order": order, "tests": tests}


def _test(case: Case, job: str, interval: str) -> dict[str, Any]:
    series = {**WELL, **case.series}
    fired = [name.partition(" ") for name in case.fires]
    # Alerts of one rule may fire for several series; which, is not what is asked here.
    expression = 'group by (alertname, long) (ALERTS{alertstate="firing"})'
    labels = [f'{{alertname="{name}"' + (f',long="{long}"' if long else "") + "}" for name, _, long in fired]
    return {
        "name": case.name,
        "interval": interval,
        "input_series": [
            {"series": _with_job(name, job), "values": values} for name, values in series.items() if values
        ],
        "promql_expr_test": [
            {"expr": expression, "eval_time": case.at, "exp_samples": [{"labels": one, "value": 1} for one in labels]}
        ],
    }


def _with_job(series: str, job: str) -> str:
    name, _, rest = series.partition("{")
    return f'{name}{{job="{job}",instance="a:1"' + (f",{rest}" if rest else "}")


def test_burn_rates_are_those_of_the_workbook() -> None:
    assert [(burn.long, burn.short, burn.rate, round(burn.used(), 3)) for burn in BURNS] == [
        ("1h", "5m", 14.4, 0.02), ("6h", "30m", 6, 0.05), ("1d", "2h", 3, 0.1), ("3d", "6h", 1, 0.1),
    ]  # fmt: skip
    assert all(hours(burn.long) == 12 * hours(burn.short) for burn in BURNS)


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real server shows."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    with serving(FolderOrigin(folder), ServeConfig(port=0), {}) as address:
        httpx.post(f"{address}/v1/predict", json={"rows": [{"text": "很好"}]}).raise_for_status()
        return httpx.get(f"{address}/metrics").text


def test_whatever_is_queried_exists_in_a_real_scrape(scrape: str) -> None:
    shown = set(re.findall(r"^# TYPE (\S+) ", scrape, re.MULTILINE))
    files = {file.path: file.text for file in Monitoring().files(plan())}
    rules = [rule for path in RULES for group in yaml.safe_load(files[path])["groups"] for rule in group["rules"]]
    asked = [*queries(json.loads(files[DASHBOARD])), *(rule["expr"] for rule in rules)]
    used = {name for expression in asked for name in names(expression)}
    assert used - shown == set()
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for expression in asked for name in _RECORDED.findall(expression)} - recorded == set()
    # What is counted is there to be seen: a new figure gets its place in `panels.py`, or a reason here.
    left_out = {"luban_build_info", "luban_cache_bytes", "luban_records_written_total"}
    left_out |= {"process_virtual_memory_bytes", "process_max_fds", "process_start_time_seconds"}
    assert set(FIGURES) - used == left_out


def test_bounds_that_rules_name_are_bounds_of_the_histogram(scrape: str) -> None:
    files = {file.path: file.text for file in Monitoring().files(plan())}
    for bound in set(re.findall(r'le="([^"]+)"', files[RULES[0]] + files[RULES[1]])):
        assert f'le="{bound}"' in scrape


@needs_prometheus
def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    found = {file.path: file.text for file in Monitoring().files(plan())}
    rules = [
        {"record": f"panel:{number}", "expr": plain(expression)}
        for number, expression in enumerate(queries(json.loads(found[DASHBOARD])))
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "panels.yml", cwd=tmp_path)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_dashboard_is_laid_out_in_the_projects_language(language: Any) -> None:
    files = {file.path: file.text for file in Monitoring().files(plan(language))}
    found = json.loads(files[DASHBOARD])
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "model", "instance"]
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers) > 30
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"] in WORDS[language].values()
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))


def test_grafanas_own_library_knows_every_member_of_the_dashboard() -> None:
    """Read by the types of Grafana 10.4 and written again, nothing is lost and nothing changed."""
    register_default_plugins()
    text = {file.path: file.text for file in Monitoring().files(plan())}[DASHBOARD]
    read = GrafanaDashboard.from_json(json.loads(text))
    lost = list(_lost(json.loads(text), json.loads(JSONEncoder().encode(read)), ""))
    assert lost == []
    assert list(_lost({"a": [{"b": 1}]}, {"a": [{}]}, "")) == [".a[0].b"], "the comparison itself can fail"


def _lost(written: Any, read: Any, path: str) -> Iterator[str]:
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key in read:
                yield from _lost(value, read[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from _lost(one, other, f"{path}[{number}]")
    elif written != read:
        yield f"{path}: {written!r} became {read!r}"


def test_every_alert_is_in_the_guide() -> None:
    files = {file.path: file.text for file in Monitoring().files(plan())}
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "watch.md").read_text("utf-8")
    alerts = set(re.findall(r"alert: (\w+)", files[RULES[1]]))
    assert alerts == set(re.findall(r"`(Luban[A-Z]\w+)`", guide))


def test_both_languages_have_all_words_and_every_word_is_used() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for language, words in WORDS.items():
        files = "".join(file.text for file in Monitoring().files(plan(language)))
        parts = [part for word in words.values() for part in re.split(r"\{\w+\}", word) if part.strip()]
        missing = [part for part in parts if part.strip() not in files.replace("''", "'")]
        assert missing == []
        for key, word in words.items():
            assert re.findall(r"\{(\w+)\}", word).sort() == re.findall(r"\{(\w+)\}", WORDS["en"][key]).sort()


@pytest.mark.parametrize("server", ["nowhere", "http://a:1", "a:b", ""])
def test_servers_are_hosts_with_ports(server: str) -> None:
    with pytest.raises(ValidationError, match="must be `host:port`"):
        Monitoring.Config(servers=(server,))


@contextmanager
def prometheus(folder: Path) -> Iterator[httpx.Client]:
    """A Prometheus of its own, on a free loopback port."""
    assert PROMETHEUS is not None
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROMETHEUS, "--config.file=prometheus.yml", f"--web.listen-address={address}", "--storage.tsdb.path=data"],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", timeout=10) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def gives(client: httpx.Client, expression: str, wanted: float) -> None:
    """Wait until a query gives one value."""
    found: Any = None

    def is_given() -> bool:
        nonlocal found
        try:
            found = client.get("/query", params={"query": expression}).json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError):  # It is still starting.
            found = None
        return bool(found) and float(found[0]["value"][1]) == wanted

    until(is_given, f"{expression} to be {wanted}", every_s=0.1, log=lambda: f"it is {found}")


@needs_prometheus
def test_prometheus_scrapes_a_real_server(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    found = replace(plan("zh"), serve=ServeConfig(slo=SloConfig(p95_ms=60_000)))
    config = ServeConfig(port=0, slo=found.serve.slo)
    environment = {"LUBAN_API_KEY": "a-key-of-this-test-alone"}
    headers = {"x-api-key": environment["LUBAN_API_KEY"]}
    (tmp_path / "key").write_text(environment["LUBAN_API_KEY"])
    with serving(FolderOrigin(tmp_path / "bundle"), config, environment) as address:
        server = address.removeprefix("http://")
        written(tmp_path, found, servers=(server,), interval_s=1, key_file="key")
        with prometheus(tmp_path) as client, httpx.Client(base_url=address, headers=headers) as asking:
            gives(client, "luban_ready", 1)
            for _ in range(5):
                asking.post("/v1/predict", json={"rows": [{"text": "很好"}, {"stars": "many"}]}).raise_for_status()
            gives(client, "sum(luban_rows_total)", 10)
            gives(client, "sum(luban_row_errors_total)", 5)
            gives(client, 'luban_request_seconds_bucket{route="/v1/predict",le="60.0"}', 5)
            gives(client, 'sum(luban_answers_total{arm="champion"})', 5)
            gives(client, "luban_arm_weight_ratio", 1)
            _check_queries(client, found)


def _check_queries(client: httpx.Client, found: Deployment) -> None:
    files = {file.path: file.text for file in Monitoring().files(found)}
    for expression in queries(json.loads(files[DASHBOARD])):
        answer = client.get("/query", params={"query": plain(expression)}).json()
        assert answer["status"] == "success", (expression, answer)
    rules = [rule for group in client.get("/rules").json()["data"]["groups"] for rule in group["rules"]]
    assert len(rules) > 30
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
