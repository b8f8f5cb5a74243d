"""The dashboard as Grafana's JSON (schema 39: Grafana 10.4 and later), with its data source as a variable.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model
"""

from __future__ import annotations

from typing import Any

from luban.catalog import fingerprint
from luban.deploy.base import Deployment
from luban.deploy.watch.panels import Panel, panels
from luban.deploy.watch.words import say

SCHEMA = 39
WIDTH, HEIGHT, STAT_HEIGHT = 24, 8, 4
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(plan: Deployment, job: str) -> dict[str, Any]:
    """The dashboard of one deployment."""
    language = plan.language
    return {
        "uid": f"luban-{fingerprint([plan.name, job])[:16]}",
        "title": say("title", language).format(name=plan.name),
        "description": plan.purpose,
        "tags": ["luban", plan.name],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables(job)},
        "annotations": {"list": [_swaps(job)]},
        "panels": _laid_out(panels(job, 1 - plan.serve.slo.availability), language),
    }


def _variables(job: str) -> list[dict[str, Any]]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0}
    return [source, _query("model", f'label_values(luban_model_info{{job="{job}"}}, model)'), _query("instance", (
        f'label_values(luban_workers{{job="{job}"}}, instance)'
    ))]  # fmt: skip


def _query(name: str, query: str) -> dict[str, Any]:
    everything = {"text": ["All"], "value": ["$__all"]}
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": everything,
        "sort": 1,
    }


def _swaps(job: str) -> dict[str, Any]:
    """A line wherever another version came to answer."""
    changes = f'changes(luban_model_version{{job="{job}"}}[1m]) > 0'
    return {"name": "versions", "enable": True, "iconColor": "blue", "datasource": SOURCE, "expr": changes}


def _laid_out(rows: list[tuple[str, list[Panel]]], language: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for word, row in rows:
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        found.append(_numbered(found, {"type": "row", "title": say(word, language), "gridPos": place, "panels": []}))
        x, y, height = 0, y + 1, 0
        for panel in row:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            height = max(height, STAT_HEIGHT if panel.kind == "stat" else HEIGHT)
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            found.append(_numbered(found, _panel(panel, place, language)))
            x += panel.width
        y += height
    return found


def _numbered(before: list[dict[str, Any]], panel: dict[str, Any]) -> dict[str, Any]:
    return {"id": len(before) + 1, **panel}


def _panel(panel: Panel, place: dict[str, int], language: str) -> dict[str, Any]:
    custom: dict[str, Any] = {"fillOpacity": 10, "showPoints": "never"}
    if panel.stacked:
        custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
    heat = panel.kind == "heatmap"
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": SOURCE,
            "expr": expr,
            "legendFormat": legend,
            "format": "heatmap" if heat else "time_series",
        }
        for number, (expr, legend) in enumerate(panel.queries)
    ]
    found: dict[str, Any] = {
        "type": panel.kind,
        "title": say(panel.word, language),
        "gridPos": place,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": _options(panel.kind),
    }
    if panel.kind == "timeseries":
        found["fieldConfig"]["defaults"] |= {"min": 0, "custom": custom}
    return found


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"}
    if kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": "percentunit"}, "color": {"scheme": "Blues", "steps": 64}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
