"""Files of a pretrained model by name: a folder, or a name on a hub.

Decided here: what decides a result is what the files hold, not where they lie, so a setting that names
files is known by their hash once they are found (`at`). Weights are safetensors; pickles are never
fetched. A hub's name is looked up once, through `huggingface_hub`, which honours HF_ENDPOINT (a mirror),
HF_HUB_OFFLINE and its own cache. It does not know what the files are for.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from luban.catalog import Config, execution, fingerprint, need
from luban.errors import ConfigError

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_READ = ("*.json", "*.safetensors")
"""What is fetched and hashed."""


class PretrainedFiles(Config):
    """A folder of pretrained files, or its name on a hub. A name alone may stand for it."""

    name: str = Field(min_length=1)
    """A folder, as seen from the project file, or a name on a hub (`sentence-transformers/all-MiniLM-L6-v2`)."""
    revision: str | None = None
    """On a hub: a branch, tag or commit."""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Hash over the files; filled in when they are found. If given, other files are refused."""
    place: str = execution("")
    """Where the files were found; filled in."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def identity(self) -> dict[str, Any]:
        """What the files hold, once they are found; else how they are named."""
        return {"sha256": self.sha256} if self.sha256 else {"name": self.name, "revision": self.revision}

    def at(self, folder: Path) -> PretrainedFiles:
        """The same files, found and hashed; relative names are seen from `folder`. Raises ConfigError."""
        if self.place:
            return self
        place = self._folder(folder) or self._from_hub()
        found = hash_of(place)
        if self.sha256 and self.sha256 != found:
            raise ConfigError(
                f"The files of `{self.name}` must have the hash {self.sha256[:12]}…, but have {found[:12]}….",
                "They are not those that were meant: get them again, or change `sha256`.",
            )
        return self.model_copy(update={"sha256": found, "place": str(place)})

    @property
    def folder(self) -> Path:
        """The folder that holds the files; looked for from the current folder where nobody did before."""
        return Path(self.place or self.at(Path.cwd()).place)

    def _folder(self, folder: Path) -> Path | None:
        path = folder / Path(self.name).expanduser()
        if path.is_dir():
            return path.resolve()
        if path.exists() or not _HUB_NAME.fullmatch(self.name):
            raise ConfigError(
                f"`{self.name}` must be a folder of pretrained files, but there is no such folder in `{folder}`.",
                "Name the folder as seen from the project file, or a model on a hub as `owner/name`.",
            )
        return None

    def _from_hub(self) -> Path:
        hub = need("huggingface_hub", "neural")
        errors = need("huggingface_hub.errors", "neural")
        endpoint = os.environ.get("HF_ENDPOINT")
        try:
            found = hub.snapshot_download(
                self.name,
                revision=self.revision,
                endpoint=endpoint,
                allow_patterns=list(_READ),
                ignore_patterns=["*/*"],
            )
        except (OSError, ValueError, errors.HfHubHTTPError, RuntimeError) as error:
            where = f"the hub {endpoint}" if endpoint else "the hub"
            raise ConfigError(
                f"`{self.name}` is no folder here, and {where} did not give it: {_first_line(error)}",
                "Check the name and the network; set HF_ENDPOINT to a mirror; or download it and name the folder.",
            ) from error
        return Path(found)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def hash_of(folder: Path) -> str:
    """SHA-256 over names and contents of the settings and weights that lie in a folder."""
    paths = sorted({path for pattern in _READ for path in folder.glob(pattern) if path.is_file()})
    return fingerprint({path.name: _hash_of_file(path) for path in paths})


def _hash_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
