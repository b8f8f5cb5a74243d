"""`luban`: the command line. Commands are in files of their own; heavy imports are inside functions.

Every error that a user can act on ends in one message and exit status 1; a wrong call in 2; Ctrl-C in
130, with nothing half-written.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from luban.cli import (
    backup,
    bundle,
    demo,
    deploy,
    deployments,
    doctor,
    explain,
    feedback,
    init,
    jobs,
    keys,
    models,
    predict,
    reviews,
    schema,
    serve,
    verbs,
)
from luban.errors import LubanError

STOPPED = "Stopped. What was finished is kept: the same command goes on from there."


class Commands(TyperGroup):
    """All commands; a call that is interrupted says so in one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        stopping = _listen()
        try:
            return super().invoke(ctx)
        except BaseException as error:
            # A library may turn the interrupt into an error of its own (an extension that was being imported).
            if not isinstance(error, KeyboardInterrupt) and not stopping.is_set():
                raise
            typer.echo(f"\n{STOPPED}", err=True)
            raise typer.Exit(130) from None


def _listen() -> threading.Event:
    """Set as soon as Ctrl-C is pressed, whatever becomes of the KeyboardInterrupt that it raises."""
    stopping = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, interrupt)
    return stopping


app = typer.Typer(
    name="luban",
    cls=Commands,
    help="A model factory for small AI teams: one file takes raw data to a served model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (init, verbs, predict, explain, serve, schema, demo, doctor, backup):
    module.register(app)
app.add_typer(models.app, name="models")
app.add_typer(deployments.app, name="deployments")
app.add_typer(feedback.app, name="feedback")
app.add_typer(reviews.app, name="reviews")
app.add_typer(bundle.app, name="bundle")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(deploy.app, name="deploy")


def _version(asked: bool) -> None:
    if asked:
        from luban import __version__

        typer.echo(f"luban {__version__}")
        raise typer.Exit


@app.callback()
def luban(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and end.")
    ] = False,
) -> None:
    """A model factory for small AI teams: one file takes raw data to a served model."""


def main() -> None:
    """Entry point of the `luban` program."""
    try:
        app()
    except LubanError as error:
        from luban.cli.said import complain

        complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo(f"\n{STOPPED}", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away; there is nobody left to tell.
        sys.stderr.close()
        sys.exit(141)
