"""A job's rows take the path of questions: arms, records, truths, review, rows outside, shadows, figures."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from luban.bundle.ranges import RANGES
from luban.bundle.write import with_reports
from luban.catalog import canonical
from luban.data.sources import open_path
from luban.release.registry import Release
from luban.store.tables import reviews

from ..deploying import ADA, PASSED, House, until
from ..tiny import TEXTS, write_tiny
from .working import CSV, client_of, handed_in, lines, recorded, result, worked


def test_rows_are_shared_out_as_questions_are(house: House) -> None:
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    with client_of(house) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        drawn, sticky = handed_in(api, content=lines(400), headers=CSV), "?sticky=customer"
        kept = handed_in(api, sticky, content=lines(400), headers=CSV)
        one = handed_in(api, content=lines(50), headers={**CSV, "x-sticky-key": "c7"})
        named = handed_in(api, "?version=2", content=lines(20), headers=CSV)
        house.deployments.promote("reviews", 2, ADA)
        worked(house)
        versions = Counter(row["version"] for row in result(api, drawn))
        assert versions.total() == 400
        assert 140 < versions["2"] < 260, "who shared the rows when the job was handed in"
        by_customer: dict[str, set[str]] = {}
        for row in result(api, kept):
            by_customer.setdefault(row["customer"], set()).add(row["version"])
        assert {len(found) for found in by_customer.values()} == {1}
        assert {version for found in by_customer.values() for version in found} == {"1", "2"}
        assert {row["version"] for row in result(api, one)} == by_customer["c7"], "a request's key says the same"
        assert {row["version"] for row in result(api, named)} == {"2"}
    arms = {(row.version, row.share) for row in recorded(house) if not row.request_id.startswith(named)}
    assert arms == {(1, 0.5), (2, 0.5)}, "as evidence of a test counts them"
    assert {row.share for row in recorded(house) if row.request_id.startswith(named)} == {None}
    units = {row.unit for row in recorded(house) if row.request_id.startswith(kept)}
    assert len(units) == 40, "a customer is one, however many rows it has"


def test_truths_find_rows_and_the_unsure_are_reviewed(house: House) -> None:
    review = {"review": {"below": 0.99}, "records": {"rows": True}}
    with client_of(house, **review) as api:
        id = handed_in(api, content=lines(30) + b"c9,,\n", headers=CSV)
        worked(house, **review)
        found = result(api, id)
        assert [row["request_id"] for row in found] == [f"{id}-{n}" for n in range(30)] + [""]
        assert list(found[0])[-5:] == ["review", "review_because", "version", "request_id", "error"]
        assert {(row["review"], row["review_because"]) for row in found[:30]} == {("true", "confidence")}
        told = [{"request_id": row["request_id"], "truth": row["label"]} for row in found[:30]]
        said = api.post("/v1/feedback", json={"feedback": told}).json()
        assert said["joined"] == 30, "all are recorded once the job is done"
        listed = api.get("/v1/reviews?limit=100&status=told").json()["reviews"]
        assert {one["id"] for one in listed} == {f"{id}-{n}:0" for n in range(30)}
        assert json.loads(recorded(house)[0].row)["text"].startswith(TEXTS[0])
        (first,) = [row for row in recorded(house) if row.request_id == f"{id}-0"]
        assert not {"version", "request_id"} & json.loads(first.answer).keys(), "the model's own answer is recorded"


def test_versions_of_other_columns_share_a_file(house: House) -> None:
    """What a version does not know is not asked of it; the file has the columns of both."""
    number = house.release_without("stars")
    house.deployments.set_weights("reviews", {number: 0.5}, ADA)
    with client_of(house) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(60), headers=CSV)
        worked(house)
        found = result(api, id)
        assert {row["error"] for row in found} == {""}
        assert {row["version"] for row in found} == {"1", str(number)}


def trained(house: House) -> None:
    """A champion that says what it was trained on: texts of 2 to 10 characters, 1 to 5 stars."""
    said = {"text": {"missing": False, "length": [2, 10]}, "stars": {"missing": True, "range": [1.0, 5.0]}}
    bare, told = house.folder / "bare", house.folder / "told"
    identity = write_tiny(bare, 1e-3).identity
    told.mkdir()
    with_reports(bare, told, {RANGES: canonical({"columns": said})}, {}, "", (RANGES,))
    number = house.registry.release(Release("reviews", house.home.store.publish(told), identity, PASSED), ADA).number
    house.registry.promote("reviews", number, ADA)


STRANGE = b"text,stars\n" + f"{TEXTS[0]},5\n{TEXTS[0]},900\n{TEXTS[0] * 20},1\n{TEXTS[1]},\n".encode()


def test_rows_outside_get_an_error_and_the_job_goes_on(house: House) -> None:
    trained(house)
    with client_of(house) as api:
        id = handed_in(api, content=STRANGE, headers=CSV)
        worked(house, rows={"outside": "refuse", "max_cell_bytes": 100})
        rows = result(api, id)
        assert [bool(row["label"]) for row in rows] == [True, False, False, True]
        assert rows[1]["error"] == "stars: 900 is above 5, the largest in training"
        assert "more than the 100 that are allowed" in rows[2]["error"]
        assert len(recorded(house)) == 2


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_rows_outside_are_marked_and_reviewed_in_every_form(house: House, form: str) -> None:
    trained(house)
    marking = {"rows": {"outside": "mark"}, "review": {"outside": True}}
    with client_of(house, **marking) as api:
        id = handed_in(api, f"?format={form}", content=STRANGE, headers=CSV)
        worked(house, **marking)
        body = api.get(f"/v1/jobs/{id}/result").content
        path = house.folder / f"answers.{form}"
        path.write_bytes(body)
        rows = [row for batch in open_path(str(path)).read() for row in batch.rows.to_pylist()]
        assert ["above 5" in str(row["outside"]) for row in rows] == [False, True, False, False]
        assert ["outside" in str(row["review_because"]) for row in rows] == [False, True, True, False]
        assert [str(row["review"]).lower() == "true" for row in rows] == [False, True, True, False]
        asked = api.post("/v1/predict", json={"rows": [{"text": TEXTS[0], "stars": 900}]}).json()["answers"][0]
        assert asked["outside"][0] in str(rows[1]["outside"]), "as a request's answer is marked"
        with house.home.ledger.reading() as tx:
            queued = {row.request_id for row in tx.execute(select(reviews))}
        assert {f"{id}-1", f"{id}-2"} <= queued


def test_shadows_and_figures(house: House) -> None:
    house.deployments.set_shadows("reviews", (2,), ADA)
    with client_of(house, jobs={"poll_s": 0.05, "idle_s": 60}) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(100), headers=CSV)
        until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "done")
        arm = 'arm="champion",model="reviews"'

        def figure(line: str) -> bool:
            return line in api.get("/metrics").text

        until(lambda: figure(f'luban_rows_total{{{arm},version="1"}} 100.0'))
        assert figure("luban_records_written_total 100.0")
        assert not figure(f'luban_model_requests_total{{{arm},outcome="answered",version="1"}} 100.0'), "nobody waited"

        def shadow() -> dict[str, Any]:
            found: dict[str, Any] = api.get("/v1/deployments/reviews").json()["shadows"][0]
            return found

        until(lambda: shadow()["asked"] + shadow()["dropped"] == 100)
        api.post("/v1/predict", json={"rows": [{"text": TEXTS[0]}]})
        until(lambda: figure(f'luban_rows_total{{{arm},version="1"}} 101.0'))


def test_a_sticky_column_must_be_there(house: House) -> None:
    with client_of(house) as api:
        id = handed_in(api, "?sticky=shop", content=lines(3), headers=CSV)
        rows = [{"text": TEXTS[0], "shop": "a"}, {"text": TEXTS[1]}, 3]
        other = handed_in(api, json={"rows": rows, "sticky": "shop"})
        worked(house)
        job = api.get(f"/v1/jobs/{id}").json()
        assert (job["status"], "`sticky` must be a column of the file, but got shop" in job["error"]) == (
            "failed",
            True,
        )
        found = api.get(f"/v1/jobs/{other}/result").json()["answers"]
        assert ["label" in one for one in found] == [True, True, False]
