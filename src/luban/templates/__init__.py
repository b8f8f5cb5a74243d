"""What `luban init` writes: project files from templates, or from a look at data.

Templates are the `.yaml` files of this folder; `{name}`, `{owner}` and `{columns}` are filled in. A file
that is there already is never overwritten.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from luban.catalog import nearest
from luban.errors import ConfigError
from luban.policy.rules import Actor

if TYPE_CHECKING:
    from luban.look.look import Seen
    from luban.look.words import Language

FILE = "luban.yaml"
TEMPLATES = ("chinese-reviews", "breast-cancer", "blank")
_MEASURES = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry",
    "fractal dimension",
)  # fmt: skip
_COLUMNS = ", ".join(f"{kind} {measure}" for kind in ("mean", "error", "worst") for measure in _MEASURES)


def from_template(folder: Path, template: str, name: str | None = None, language: Language = "en") -> Path:
    """Write the template's luban.yaml into `folder`; gives its path. Raises ConfigError.

    `language` is that of later reports; the template's comments are English.
    """
    if template not in TEMPLATES:
        close = nearest(template, TEMPLATES)
        hint = f"Did you mean `{close}`? " if close else ""
        raise ConfigError(f"There is no template `{template}`.", f"{hint}Known: {', '.join(TEMPLATES)}.")
    text = resources.files(__name__).joinpath(f"{template}.yaml").read_text("utf-8")
    fallback = template if template != "blank" else ""
    filled = text.format(
        name=model_name(name or fallback or folder.resolve().name), owner=Actor.current().name, columns=_COLUMNS
    )
    if language != "en":
        filled = re.sub(r"^(purpose:.*\n)", rf"\1language: {language}\n", filled, count=1, flags=re.MULTILINE)
    return _write(folder, filled)


def from_data(
    folder: Path, data: str, target: str | None, name: str | None = None, language: Language = "en"
) -> tuple[Path, Seen]:
    """Look at `data` and write a luban.yaml for it into `folder`; gives its path and what was seen.

    Raises ConfigError, or DataError where the data cannot be read.
    """
    from luban.data.sources import open_path
    from luban.look.look import look
    from luban.templates.from_look import project_text

    _refuse_twice(folder)
    seen = look(open_path(data), target)
    return _write(
        folder, project_text(folder, data, seen, model_name(name or default_name(folder, data)), language)
    ), seen


def data_stem(data: str) -> str:
    """What a file or URL is called, without folders and extensions.

    >>> data_stem("s3://bucket/a/chats.csv.gz")
    'chats'
    """
    return Path(data.rstrip("/").rsplit("/", 1)[-1]).name.split(".")[0]


def default_name(folder: Path, data: str) -> str:
    """What the data is called; where a model's name would lose letters of that, what the folder is called."""
    stem, at = data_stem(data), folder.resolve().name
    return stem if model_name(stem) == stem.lower() or model_name(at) != at.lower() else at


def model_name(text: str) -> str:
    """A model's name made of any text: small letters, digits, dots and hyphens.

    >>> model_name("My Data (v2).csv")
    'my-data-v2-.csv'
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:63]
    return name or "model"


def _refuse_twice(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        hint = f"Name a folder for the project; a look at data is `luban init FOLDER --data {folder}`."
        raise ConfigError(f"`{folder}` is a file, not a folder.", hint)
    if (folder / FILE).exists():
        raise ConfigError(f"`{folder / FILE}` is there already.", "Name another folder, or remove the file first.")


def _write(folder: Path, text: str) -> Path:
    path = folder / FILE
    _refuse_twice(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(text, "utf-8")
    beside.rename(path)
    return path
