"""`luban demo`: the whole line on real Chinese reviews, and two questions over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luban.cli.options import AsJson

FOLDER = Path("luban-demo")
QUESTIONS = (
    "房间很干净，前台热情，早餐也丰富，下次还会来。",
    "隔音太差，一晚上没睡好，空调还是坏的，再也不来了。",
)
WORDS = {
    "en": {
        "asked": "Asked over HTTP:",
        "sure": "{label}, {confidence:.0%} sure",
        "serve": "Serve it:   luban serve --project {folder}",
        "file": "A file:     luban predict reviews.csv answers.csv --project {folder}",
        "yours": "Your data:  luban init my-project --data my.csv --target my_column",
    },
    "zh": {
        "asked": "通过 HTTP 提问：",
        "sure": "{label}，把握 {confidence:.0%}",
        "serve": "启动服务：luban serve --project {folder}",
        "file": "回答文件：luban predict reviews.csv answers.csv --project {folder}",
        "yours": "您的数据：luban init my-project --data my.csv --target 列名 --language zh",
    },
}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(demo)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the demo's project.")] = FOLDER, as_json: AsJson = False
) -> None:
    """Run the whole line on Chinese reviews, serve the model, ask it two questions."""
    from luban.cli.verbs import run
    from luban.templates import from_template

    if not (folder / "luban.yaml").exists():
        from_template(folder, "chinese-reviews")
    run(project=folder, as_json=as_json)
    answers, language = _ask(folder)
    if as_json:
        from luban.cli.said import emit

        emit({"event": "answers", "answers": answers})
        return
    words = WORDS[language]
    typer.echo(f"\n{words['asked']}")
    for question, answer in zip(QUESTIONS, answers, strict=True):
        typer.echo(f"  {question}\n    → {words['sure'].format(**answer)}")
    typer.echo("\n" + "\n".join(words[key].format(folder=folder) for key in ("serve", "file", "yours")))


def _ask(folder: Path) -> tuple[list[dict[str, object]], str]:
    """The answers to the two questions, and the project's language."""
    import json
    import urllib.request

    from luban.cli.options import open_workshop
    from luban.serve.fleet.roster import roster
    from luban.serve.server import serving

    shop = open_workshop(folder, ["serve.port=0"])
    origins = roster(shop.project.name, shop.project.serve, shop.home)
    with serving(origins, shop.project.serve, environment={}) as address:
        body = json.dumps({"rows": [{"text": question} for question in QUESTIONS]}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/v1/predict", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answers: list[dict[str, object]] = json.load(response)["answers"]
    return answers, shop.project.language
