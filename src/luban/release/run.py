"""The verb `release`: a candidate through the gates, with its reports, into the registry.

Decided here: what the clock says (time for one row) is recorded as a decision before a gate sees it; the
bundle that is published is the trained one with reports, lineage and the audit chain's head added, so its
identity is what training gave; a version that the registry has already is not written again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from luban.bundle.bundle import Bundle
from luban.bundle.manifest import MANIFEST, Manifest
from luban.bundle.protocol import read_manifest
from luban.bundle.write import with_reports
from luban.catalog import canonical
from luban.policy.rules import Actor
from luban.release.candidate import Candidate
from luban.release.config import ReleaseConfig
from luban.release.gates.base import Case, Verdict
from luban.release.gates.run import refuse, run_gates
from luban.release.measure import measure
from luban.release.promotion import should_promote
from luban.release.registry import Registry, Release, Version
from luban.release.reports import PERSONAL_REPORTS, reports
from luban.store.home import Home

Step = Callable[[str, float], None]


def check(
    candidate: Candidate, config: ReleaseConfig, decide: Callable[[str, Callable[[], Any]], Any], step: Step
) -> list[Verdict]:
    """Every gate's verdict on the candidate."""
    from safetensors.numpy import load_file

    step("loading the bundle", 0.0)
    bundle = Bundle.load(candidate.folder / "bundle")
    case = Case(
        bundle=bundle,
        dataset=candidate.dataset,
        evaluation=candidate.evaluation,
        training=candidate.training,
        project=candidate.project,
        outputs=load_file(candidate.folder / "outputs.safetensors")["model"],
        measured=decide("measured", lambda: measure(bundle, candidate.dataset)),
    )
    return run_gates(case, config.gates, step)


def publish(
    candidate: Candidate,
    verdicts: list[Verdict],
    home: Home,
    registry: Registry,
    actor: Actor,
    config: ReleaseConfig,
    force: str | None = None,
) -> Version:
    """Write the bundle with its reports and release it; promote it where the project's rule says so.

    Raises ReleaseError naming the gates that failed, unless `force` gives a reason.
    """
    name = str(candidate.project["name"])
    identity = Bundle.load(candidate.folder / "bundle").identity
    known = next((version for version in registry.versions(name) if version.identity == identity), None)
    tree, audit_head = (known.tree, known.audit_head) if known is not None else ("", "")
    if known is None:
        if force is None:
            refuse(verdicts, candidate.project.get("language", "en"))
        with home.store.scratch("release") as folder:
            audit_head = _write(candidate, verdicts, home, folder, force).audit_head
            tree = home.store.publish(folder)
    promote, reason = should_promote(config.promote, candidate.evaluation["comparisons"].get("champion"))
    figures, headline = candidate.evaluation["metrics"], candidate.evaluation["headline"]
    release = Release(
        name=name,
        tree=tree,
        identity=identity,
        verdicts=verdicts,
        metrics={metric: figures[metric]["value"] for metric in headline},
        run_id=candidate.run_id,
        audit_head=audit_head,
    )
    return registry.release(release, actor, forced_reason=force, promote=reason if promote else None)


def _write(
    candidate: Candidate, verdicts: list[Verdict], home: Home, folder: Path, forced_reason: str | None
) -> Manifest:
    project, dataset = candidate.project, candidate.dataset
    lineage = {
        "run": candidate.run_id,
        "dataset": dataset.fingerprint,
        "data": dataset.info.get("lineage", {}),
        "training": candidate.keys["train"],
        "seed": project["seed"],
        "chosen": candidate.training["chosen"],
    }
    source = candidate.folder / "bundle"
    keys = {**candidate.keys, **({"explain": candidate.explain_key} if candidate.explain_key else {})}
    decisions = {verb: home.ledger.decisions(key) for verb, key in keys.items()}
    measured = home.ledger.decisions(candidate.last_key).get("measured", {})
    manifest = read_manifest((source / MANIFEST).read_bytes(), str(source))
    written = reports(candidate, manifest, verdicts, lineage, measured, forced_reason)
    written["decisions.json"] = canonical(decisions)
    return with_reports(source, folder, written, lineage, home.ledger.audit_head(), PERSONAL_REPORTS)
