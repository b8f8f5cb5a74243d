"""`luban deployments`: who shares the champion's questions, changed while servers run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from luban.cli.options import AsJson, ProjectPath, grouped, open_workshop
from luban.errors import ConfigError, plain

if TYPE_CHECKING:
    from luban.release.deployments import Deployments
    from luban.release.standing import Standing
    from luban.serve.traffic.control import Seen
    from luban.workshop import Workshop

app = typer.Typer(
    help="Who answers: weights, shadows, canary, A/B test, promotion, rollback; servers follow at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
HERE = Path()
Which = Annotated[str, typer.Argument(help="A version's number or an alias.")]
Model = Annotated[str, typer.Option("--model", help="Another released model than the project's.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept on the audit trail.")]


@app.command()
def show(project: ProjectPath = HERE, model: Model = "", as_json: AsJson = False) -> None:
    """Who answers now, what shadows say, and how a canary or test stands."""
    from luban.cli.said import emit
    from luban.serve.traffic.control import Controller
    from luban.serve.traffic.told import told

    shop, deployments, name = _opened(project, model)
    found = told(shop.home.ledger, Controller(shop.home.ledger, deployments).look(name))
    if as_json:
        emit(found)
    else:
        _print(found)


@app.command()
def weights(
    shares: Annotated[list[str] | None, typer.Argument(help="VERSION=SHARE …; none: the champion alone.")] = None,
    project: ProjectPath = HERE,
    model: Model = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give versions a fixed share of the questions: `weights 3=0.2`. The champion has what is left."""
    shop, deployments, name = _opened(project, model)
    wanted = {_number(shop, name, which): share for which, share in map(_share, shares or [])}
    _said(deployments.set_weights(name, wanted, shop.actor, reason=reason), as_json)


@app.command()
def shadow(
    versions: Annotated[list[str] | None, typer.Argument(help="Versions or aliases; none: no shadow.")] = None,
    project: ProjectPath = HERE,
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Let versions be asked too and compared, without being heard."""
    shop, deployments, name = _opened(project, model)
    numbers = tuple(_number(shop, name, which) for which in versions or [])
    _said(deployments.set_shadows(name, numbers, shop.actor), as_json)


@dataclass(frozen=True)
class CanaryOptions:
    """When a canary steps up, and what it must hold; what is left out is as `CanaryRule` has it."""

    steps: Annotated[str | None, typer.Option(help="Shares one after the other: 0.05,0.25,0.5.")] = None
    step_s: Annotated[float | None, typer.Option(help="Seconds that a step lasts at least.")] = None
    min_requests: Annotated[int | None, typer.Option(help="Requests that it answers in a step at least.")] = None
    max_error_rate: Annotated[float | None, typer.Option(help="Share of failed requests that it may have.")] = None
    max_latency_ratio: Annotated[float | None, typer.Option(help="How many times slower it may be.")] = None
    quality: Annotated[
        Literal["off", "known", "required"] | None, typer.Option(help="What truth decides: off, known or required.")
    ] = None
    min_truths: Annotated[int | None, typer.Option(help="Judged answers that make its quality known.")] = None
    promote: Annotated[bool, typer.Option("--promote", help="Make it champion once all steps have held.")] = False


@app.command()
@grouped
def canary(
    which: Which, project: ProjectPath = HERE, model: Model = "", *, rule: CanaryOptions, as_json: AsJson = False
) -> None:
    """Let a version step up by itself while it holds, and go back by itself if it does not."""
    from luban.release.rollout import CanaryRule

    steps = None if rule.steps is None else rule.steps.split(",")
    found = _ruled(CanaryRule, {**vars(rule), "steps": steps, "promote": rule.promote or None})
    shop, deployments, name = _opened(project, model)
    _said(deployments.start_canary(name, _number(shop, name, which), found, shop.actor), as_json)


@dataclass(frozen=True)
class TrialOptions:
    """What an A/B test compares, and how surely; what is left out is as `TestRule` has it."""

    share: Annotated[float | None, typer.Option(help="The challenger's share of the questions.")] = None
    metric: Annotated[str | None, typer.Option(help="accuracy, error, or the name of a business figure.")] = None
    smaller_is_better: Annotated[
        bool, typer.Option("--smaller-is-better", help="For a business figure that should be small.")
    ] = False
    alpha: Annotated[float | None, typer.Option(help="Probability of a false alarm, over all looks.")] = None
    min_units: Annotated[int | None, typer.Option(help="Known outcomes that each side must have.")] = None
    promote: Annotated[bool, typer.Option("--promote", help="Make the challenger champion once better.")] = False


@app.command("test")
@grouped
def compare(
    which: Which, project: ProjectPath = HERE, model: Model = "", *, rule: TrialOptions, as_json: AsJson = False
) -> None:
    """A/B test a version against the champion; it may be looked at as often as you like."""
    from luban.release.rollout import TestRule

    flags = {"smaller_is_better": rule.smaller_is_better or None, "promote": rule.promote or None}
    found = _ruled(TestRule, {**vars(rule), **flags})
    shop, deployments, name = _opened(project, model)
    _said(deployments.start_test(name, _number(shop, name, which), found, shop.actor), as_json)


@app.command()
def promote(
    which: Which, project: ProjectPath = HERE, model: Model = "", reason: Reason = "", as_json: AsJson = False
) -> None:
    """Make a version champion with all questions; what shared them ends."""
    shop, deployments, name = _opened(project, model)
    _said(deployments.promote(name, _number(shop, name, which), shop.actor, reason), as_json)


@app.command()
def rollback(project: ProjectPath = HERE, model: Model = "", reason: Reason = "", as_json: AsJson = False) -> None:
    """At once: end what shares the questions; where nothing does, go back to the champion before."""
    shop, deployments, name = _opened(project, model)
    _said(deployments.rollback(name, shop.actor, reason), as_json)


@app.command()
def stop(project: ProjectPath = HERE, model: Model = "", reason: Reason = "", as_json: AsJson = False) -> None:
    """End weights, canary or test: all questions go to the champion."""
    shop, deployments, name = _opened(project, model)
    _said(deployments.stop(name, shop.actor, reason), as_json)


@app.command()
def watch(
    project: ProjectPath = HERE,
    model: Model = "",
    every_s: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.05)] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Lead a canary or test from here until it has ended, where no server does (serve.traffic.lead)."""
    from luban.cli.said import emit
    from luban.serve.traffic.control import Leader

    shop, deployments, name = _opened(project, model)
    last = ""

    def told(seen: Seen) -> None:
        nonlocal last
        if seen.verdict is not None and seen.verdict.reason != last:
            last = seen.verdict.reason
            if as_json:
                emit({"model": name, "act": seen.verdict.act, "reason": last})
            else:
                typer.echo(f"{seen.verdict.act}: {last}")

    leader = Leader(shop.home.ledger, deployments, lambda: (name,), every_s, told)
    leader.run_until_idle()
    _said(deployments.read(name), as_json)


@app.command()
def history(project: ProjectPath = HERE, model: Model = "", as_json: AsJson = False) -> None:
    """The audit trail of this model's deployments, promotions and rollbacks, newest first."""
    from luban.cli.said import emit
    from luban.cli.show import table

    shop, deployments, name = _opened(project, model)
    shop.home.ledger.verify_audit()
    rows = deployments.history(name)
    if as_json:
        emit({"model": name, "history": rows})
        return
    shown = ("number", "time", "actor", "verb")
    table(
        [{**{key: row[key] for key in shown}, "time": row["time"][:19], "note": _note(row["detail"])} for row in rows]
    )


def _opened(project: Path, model: str) -> tuple[Workshop, Deployments, str]:
    from luban.release.deployments import Deployments

    shop = open_workshop(project, None)
    return shop, Deployments(shop.home.ledger, shop.registry), model or shop.project.name


def _number(shop: Workshop, name: str, which: str) -> int:
    return shop.registry.resolve(name, which).number


def _share(text: str) -> tuple[str, float]:
    which, _, share = text.partition("=")
    try:
        return which, float(share)
    except ValueError:
        raise ConfigError(f"A share must be VERSION=SHARE, but got `{text}`.", "For instance: 3=0.2.") from None


def _ruled(kind: type[Any], said: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return kind.model_validate({name: value for name, value in said.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        told = plain(first["type"], first["msg"])
        if not first["loc"]:  # what settings must be together; it says what it got
            raise ConfigError(f"--steps: {told}.") from None
        name = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{name}: {told}, but got {first['input']!r}.") from None


def _said(standing: Standing, as_json: bool) -> None:
    from luban.cli.said import emit

    split = {str(number): share for _, number, share in standing.split}
    if as_json:
        shadows = list(standing.shadows)
        found = {"model": standing.model, "champion": standing.champion, "revision": standing.revision}
        emit({**found, "shares": split, "shadows": shadows})
        return
    beside = ", ".join(f"version {number} {share:.4g}" for number, share in split.items())
    silent = ", ".join(f"version {number}" for number in standing.shadows)
    unheard = f"; asked without being heard: {silent}" if silent else ""
    typer.echo(f"{standing.model}: champion is version {standing.champion}; beside it {beside or 'nobody'}{unheard}.")


def _print(found: dict[str, Any]) -> None:
    from luban.cli.show import table

    typer.echo(f"{found['model']}, deployment {found['deployment']}, revision {found['revision']}")
    table(found["arms"])
    for what in ("shadows", "servers"):
        if found[what]:
            typer.echo("")
            table(found[what])
    trials = [(what, found[what]) for what in ("canary", "test") if found[what] is not None]
    for what, one in sorted(trials, key=lambda trial: trial[1]["id"])[-1:]:  # what ran before stands in the history
        typer.echo(f"\n{what} of version {one['version']}: {one['status']}. {one['reason']}".rstrip())


def _note(detail: dict[str, Any]) -> str:
    told = detail.get("reason", "")
    if "to" in detail:
        told = f"champion {detail['from'] or 'nothing'} → {detail['to']}. {told}"
    elif "weights" in detail:
        told = f"{', '.join(f'{v}={s:g}' for v, s in detail['weights'].items()) or 'none'}. {told}"
    elif "version" in detail:
        told = f"version {detail['version']}. {told}"
    elif "versions" in detail:
        told = f"versions {', '.join(map(str, detail['versions'])) or 'none'}."
    return str(told).strip()
