"""Reports, card and diff of a real release: what is in them, and what must not be."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.catalog import fingerprint
from luban.cli.show import show_version
from luban.errors import ConfigError, ReleaseError
from luban.evaluate.report import Report
from luban.project import load_project
from luban.release.registry import Version
from luban.release.reports import rendered
from luban.serve.guards.outside import Bounds
from luban.workshop import Workshop

from .made import PROJECT, write_project

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("released")
    write_project(folder)
    run(folder, "")
    return Workshop.open(*load_project(folder))


def run(folder: Path, change: str, force: str | None = None) -> Version:
    (folder / "luban.yaml").write_text(PROJECT + change, "utf-8")
    with Workshop.open(*load_project(folder)).working() as working:
        return lifecycle.run(working, force).version


def folder_of(shop: Workshop, which: str) -> Path:
    return shop.home.store.fetch(shop.registry.resolve("tickets", which).tree)


def test_the_bundle_holds_its_reports(shop: Workshop) -> None:
    folder = folder_of(shop, "1")
    names = {path.name for path in (folder / "reports").iterdir()}
    assert {"report.json", "report.md", "report.html", "card.md", "evaluation.json", "gates.json"} <= names
    report = Report.model_validate_json((folder / "reports" / "report.json").read_bytes())
    assert report.lineage["dataset"] == json.loads((folder / "reports" / "evaluation.json").read_bytes())["dataset"]
    assert report.costs["p95_ms"] > 0
    assert (folder / "reports" / "report.html").read_text("utf-8") == report.to_html()
    assert Bundle.load(folder).identity == shop.registry.resolve("tickets").identity


def test_a_forced_release_says_so_in_the_projects_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_project(tmp_path)
    too_small = "language: zh\nbudget: {size_mb: 0.001}\n"
    with pytest.raises(ReleaseError) as refused:
        run(tmp_path, too_small)
    assert refused.value.message.startswith("6 道关卡中有 1 道未通过，不能发布：\nG005 是否在预算之内？ 模型包为 ")
    assert "请调高 `budget.size_mb`" in refused.value.message
    assert "--force" in (refused.value.hint or "")
    version = run(tmp_path, too_small, force="先试一试")
    shop = Workshop.open(*load_project(tmp_path))
    forced = "6 道关卡中有 1 道未通过，仍然发布。所给理由：先试一试"
    folder = folder_of(shop, "1") / "reports"
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text("utf-8")
        assert forced in text
        assert "不能发布" not in text
    assert "先试一试" in (folder / "card.md").read_text("utf-8")
    capsys.readouterr()
    show_version(shop, version, False)
    said = capsys.readouterr().out
    assert forced in said
    assert said.splitlines()[-2].startswith("tickets 第 1 版（champion），标识 ")
    assert said.splitlines()[-1].startswith("报告：")


def test_no_value_of_a_row_is_in_a_report(shop: Workshop) -> None:
    folder = folder_of(shop, "1")
    personal = {folder / name for name in Bundle.load(folder).manifest.personal}
    for path in set((folder / "reports").iterdir()) - personal:
        text = path.read_text("utf-8")
        assert "parcel" not in text, path.name
        assert "refund" not in text, path.name


def test_the_page_with_rows_says_that_it_has_them(shop: Workshop) -> None:
    folder = folder_of(shop, "1")
    page = (folder / "reports" / "report-with-rows.html").read_text("utf-8")
    assert "Do not publish it" in page
    assert "parcel" in page
    assert "reports/report-with-rows.html" in Bundle.load(folder).manifest.personal
    assert "Do not publish it" not in (folder / "reports" / "report.html").read_text("utf-8")


def test_the_card_has_its_sections_and_can_be_traced(shop: Workshop) -> None:
    folder = folder_of(shop, "1")
    card = (folder / "reports" / "card.md").read_text("utf-8")
    for heading in (
        "Intended use",
        "Model details",
        "Results on unseen rows",
        "By class",
        "Limits",
        "Data",
        "Traced by",
    ):
        assert f"## {heading}" in card
    manifest = Bundle.load(folder).manifest
    report = json.loads((folder / "reports" / "report.json").read_bytes())
    for trace in (manifest.identity, manifest.lineage["dataset"], fingerprint(report)):
        assert trace in card
    assert "service-team answers for this model." in card
    assert "Predicts angry (two classes) from: message (text)." in card


def test_a_forced_release_says_so_and_the_diff_shows_what_changed(shop: Workshop) -> None:
    change = "release: {promote: never}\n"
    other = change.replace("}", ", gates: [governance, budget]}") + "seed: 5\nbudget: {p95_ms: 0.000001}\n"
    with pytest.raises(ReleaseError, match="G005"):
        run(shop.folder, other)
    version = run(shop.folder, other, force="the fair is tomorrow")
    assert version.aliases == ("challenger",)
    card = (folder_of(shop, str(version.number)) / "reports" / "card.md").read_text("utf-8")
    assert "in spite of failed gates (G005): the fair is tomorrow" in card
    changed = {row["what"] for row in shop.registry.diff("tickets", 1, version.number)}
    assert {"identity", "stage model"} <= changed
    assert shop.registry.diff("tickets", 1, 1) == []
    shop.home.ledger.verify_audit(shop.registry.heads("tickets"))


class Outside(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        outside = [(name, value or "") for name, value in attrs if name in ("src", "href", "srcset", "onload")]
        self.found += [f"{name}={value}" for name, value in outside if not (name == "href" and value.startswith("#"))]


@pytest.mark.parametrize("name", ["report.html", "report-with-rows.html"])
def test_the_page_asks_nothing_of_the_network(shop: Workshop, name: str) -> None:
    page = (folder_of(shop, "1") / "reports" / name).read_text("utf-8")
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert "url(" not in page
    assert "@import" not in page


def test_a_release_says_what_its_training_rows_were_like(shop: Workshop) -> None:
    folder = folder_of(shop, "1")
    bundle = Bundle.load(folder)
    told = json.loads((folder / "reports" / "ranges.json").read_bytes())
    assert "reports/ranges.json" in bundle.manifest.personal
    assert told["rows"] > 100
    assert list(told["columns"]["message"]) == ["length", "missing"]
    assert Bounds.of(bundle) is not None


def test_a_report_is_written_anew_and_the_version_stays(shop: Workshop, tmp_path: Path) -> None:
    folder = folder_of(shop, "1") / "reports"
    assert rendered(folder, ".html") == (folder / "report.html").read_bytes()
    assert rendered(folder, ".html", with_rows=True) == (folder / "report-with-rows.html").read_bytes()
    assert rendered(folder, ".md") == (folder / "report.md").read_bytes()
    assert "下一步做什么".encode() in rendered(folder, ".html", "zh")
    with pytest.raises(ConfigError, match=r"must end in \.html, but got `\.md`"):
        rendered(folder, ".md", with_rows=True)
    (tmp_path / "report.json").write_text('{"title": 1}')
    with pytest.raises(ReleaseError, match="cannot be read"):
        rendered(tmp_path, ".html")
