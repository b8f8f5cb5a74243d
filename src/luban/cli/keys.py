"""`luban keys`: API keys of the server, made, listed and revoked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luban.cli.options import AsJson, ProjectPath, open_workshop

if TYPE_CHECKING:
    from luban.serve.guards.key_records import KeyRecord
    from luban.serve.guards.limits_config import LimitConfig

app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True, rich_markup_mode=None)
HERE = Path()


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who will use it.")],
    role: Annotated[
        str, typer.Option(help="viewer, caller, operator or admin; each may do what those before it may.")
    ] = "caller",
    models: Annotated[str | None, typer.Option(help="Models it may ask, with commas between; all if left out.")] = None,
    expires: Annotated[str, typer.Option(help="How long it is good: 12h, 90d, 52w or never.")] = "90d",
    rate: Annotated[
        float | None, typer.Option(help="Requests a second to each model, in place of `serve.limits.requests`.")
    ] = None,
    burst: Annotated[int, typer.Option(help="How many of them may come at once; 0 takes one second's worth.")] = 0,
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it once. Only its hash is kept."""
    from typing import cast

    from luban.cli.said import emit
    from luban.policy.rules import Role
    from luban.serve.guards.keyring import Keyring, NewKey, lifetime

    shop = open_workshop(project, None)
    named = None if models is None else tuple(one.strip() for one in models.split(",") if one.strip())
    new = NewKey(name, cast(Role, role), named, lifetime(expires), _limit(rate, burst))
    key, record = Keyring(shop.home.ledger).create(new, shop.actor)
    if as_json:
        emit({"key": key, **_row(record)})
        return
    typer.echo(key)
    typer.echo(f"This is the one time that it is shown. Revoke it with: luban keys revoke {record.id}", err=True)
    unknown = ", ".join(f"`{one}`" for one in sorted(set(named or ()) - set(shop.registry.models())))
    if unknown:
        typer.echo(f"note: nothing is released under the name {unknown} yet; was that meant?", err=True)


_SHOWN = ("id", "name", "role", "models", "limit", "state")
"""What a terminal has room for; --json has all."""


@app.command("list")
def list_keys(project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """All keys that ever were, with who made them, what they may do, and whether they still may."""
    from luban.cli.said import emit
    from luban.cli.show import table
    from luban.serve.guards.keyring import Keyring

    shop = open_workshop(project, None)
    rows = [_row(record) for record in Keyring(shop.home.ledger).records().values()]
    if as_json:
        emit({"keys": rows})
    elif not rows:
        typer.echo("There is no API key yet. Make one: luban keys create --name NAME")
    else:
        table([{**{name: row[name] for name in _SHOWN}, "expires": row["expires"][:10]} for row in rows])


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(help="A key's id, or the name that one key alone has.")],
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """Take a key's power away. Servers refuse it within `serve.poll_s`."""
    from luban.cli.said import emit
    from luban.serve.guards.keyring import Keyring

    shop = open_workshop(project, None)
    record = Keyring(shop.home.ledger).revoke(which, shop.actor)
    if as_json:
        emit(_row(record))
    else:
        typer.echo(f"The key {record.id} ({record.name}) is revoked. Servers refuse it within serve.poll_s.")


def _limit(rate: float | None, burst: int) -> LimitConfig | None:
    from pydantic import ValidationError

    from luban.errors import ConfigError, plain
    from luban.serve.guards.limits_config import LimitConfig

    if rate is None:
        if burst:
            raise ConfigError(
                "`--burst` says how many requests of `--rate` may come at once, but there is no `--rate`."
            )
        return None
    try:
        return LimitConfig(rate_per_s=rate, burst=burst)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"--rate, --burst: {plain(first['type'], first['msg'])}, but got {first['input']!r}."
        ) from None


def _row(record: KeyRecord) -> dict[str, Any]:
    import time
    from datetime import UTC, datetime

    ends = None if record.expires is None else datetime.fromtimestamp(record.expires, UTC)
    limit = record.limit
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "models": "all" if record.models is None else ", ".join(sorted(record.models)),
        "limit": "" if limit is None else f"{limit.rate_per_s:g}/s, {limit.capacity} at once",
        "created": record.created[:19],
        "by": record.created_by,
        "expires": "never" if ends is None else ends.isoformat(timespec="seconds"),
        "state": record.state(time.time()),
    }
