"""What a target is: facts in, files out.

Decided here: a target touches no disk, so it cannot write where it must not; `write.py` does, and tells what a
person changed. Files hold no secret and no path of this machine: secrets are named (a file, a variable) and
put there by whoever runs the servers. The same facts give the same bytes.
"""

from __future__ import annotations

import ipaddress
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import SecretStr

from luban.catalog import Component, Config, canonical, fingerprint
from luban.deploy.config import LOCALHOST, DeployConfig
from luban.deploy.needs import extras_of, is_set
from luban.errors import ConfigError
from luban.serve.config import ServeConfig

BUNDLE = "bundle"
"""The folder, in a target's folder, that the bundle is carried in."""
_SECRET = re.compile(r"(^|_)(secret|password|passwd|token|credential|private_key|api_key)s?($|_)")
_PASSWORD_IN_URL = re.compile(
    r"://[^/@\s]*:[^/@\s]+@|[?&;](password|passwd|pwd|token|secret|api_?key|sig)=[^&\s]", re.IGNORECASE
)


@dataclass(frozen=True)
class File:
    """One file of a deployment: its path below the target's folder, with `/`, and its text."""

    path: str
    text: str
    executable: bool = False


@dataclass(frozen=True)
class Deployment:
    """All that targets are told: the model, its server's settings, and the settings that targets share.

    `identity` is that of the bundle that is carried along, "" where none is. `luban` and `python` are the versions
    that servers are installed with, `pins` those of libraries, by name. `project` is the text of luban.yaml.
    """

    name: str
    owner: str
    purpose: str
    luban: str
    python: str
    serve: ServeConfig
    config: DeployConfig
    identity: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    project: str = ""
    language: Literal["en", "zh"] = "en"
    """Language of alerts and dashboards."""
    wheel: str = ""
    """File name of Luban's own wheel, where it was not installed from an index; else ""."""

    @property
    def image(self) -> str:
        """Name and tag of the image.

        The tag says which bundle is in it, and a hash which Luban, libraries and settings: a machine that has an image
        of that name asks for no other, so what differs must not share a tag.
        """
        name = self.config.image or self.name
        if ":" in name.rpartition("/")[2]:
            return name
        return f"{name}:{self.identity[:12] or self.luban.replace('+', '-')}-{self._image_stamp[:8]}"

    @property
    def _image_stamp(self) -> str:
        follows = self.config.model_from == "project"
        build = self.config.settings_of("container").model_dump(mode="json")
        installed = [self.install(self.extras), *self.config.packages, self.python, dict(self.pins)]
        return fingerprint([installed, build, self.environment, self.project if follows else ""])

    def install(self, extras: Sequence[str]) -> str:
        """What pip is told to install. A wheel is named by its path: no index is asked for that name, where somebody
        else's package might answer to it."""
        brackets = f"[{','.join(extras)}]" if extras else ""
        return f"./wheels/{self.wheel}{brackets}" if self.wheel else f"luban{brackets}=={self.luban}"

    @property
    def extras(self) -> tuple[str, ...]:
        """Extras of Luban that the servers need, those that their settings ask for included."""
        return extras_of(self.serve, self.config)

    @property
    def is_local(self) -> bool:
        """Whether no name is set by which clients reach the model."""
        return self.config.host == LOCALHOST

    @property
    def environment(self) -> dict[str, str]:
        """The server's settings that are not defaults, as variables. Raises ConfigError for a secret among them."""
        return {name: value for name, value in _variables("LUBAN__SERVE", self.serve) if name not in _OF_THE_TARGET}


_OF_THE_TARGET = ("LUBAN__SERVE__HOST", "LUBAN__SERVE__PORT")
"""Where a server listens is the target's to say."""


def _variables(prefix: str, config: Config) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        variable = f"{prefix}__{name.upper()}"
        if value == info.get_default(call_default_factory=True):
            continue
        if isinstance(value, Config):
            found += _variables(variable, value) or [(variable, "{}")]
        else:
            found.append((variable, _told(variable, name, value, config)))
    return found


def _told(variable: str, name: str, value: Any, config: Config) -> str:
    plain = config.model_dump(mode="json")[name]
    text = plain if isinstance(plain, str) and _is_plain(plain) else canonical(plain).decode()
    if isinstance(value, SecretStr) or _SECRET.search(name) or _PASSWORD_IN_URL.search(text):
        raise ConfigError(
            f"`{variable.lower().removeprefix('luban__').replace('__', '.')}` holds a secret, which must not stand in "
            "files that are written.",
            f"Take it out of luban.yaml, give the servers the environment variable {variable}, and name its extra, "
            "where it needs one, in `deploy.extras`.",
        )
    return text


def refuse_secrets(project: str) -> None:
    """Raise ConfigError where the text of luban.yaml, which servers read, holds an address with a password."""
    for number, line in enumerate(project.splitlines(), 1):
        if _PASSWORD_IN_URL.search(line.partition(" #")[0]):
            raise ConfigError(
                f"Line {number} of luban.yaml holds an address with a password, which must not stand in files "
                "that are written, and servers read luban.yaml (`deploy.model_from: project`).",
                "Take the password out of the address: name it in a variable or a file that its library reads.",
            )


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text as itself without quotes."""
    return re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./:-]*[A-Za-z0-9_./-]", text) is not None and text.lower() not in (
        "true", "false", "yes", "no", "on", "off", "null",
    )  # fmt: skip


class Target(Component):
    """Turns a deployment's facts into files. Pure: reads no disk, no clock and no environment.

    Texts that can hold a comment begin with one that says how they were made (`templates.header`).
    """

    names_host: ClassVar[bool] = False
    """Whether `deploy.host` stands in the files: in a certificate, a server's name or a route."""
    not_followed: ClassVar[Mapping[str, str]] = {}
    """Settings of the server that this target cannot follow, as `grpc.port`, and why not."""
    names_bundle: ClassVar[bool] = True
    """Whether the files name what is deployed (the tag of an image); false where they would be the same for all."""

    @abstractmethod
    def files(self, plan: Deployment) -> Sequence[File]:
        """The files, paths below the target's folder. Raises ConfigError where the settings do not fit together."""

    def carries_bundle(self, plan: Deployment) -> bool:
        """Whether the bundle's files are to be put into the folder `bundle` beside the others."""
        return False

    @abstractmethod
    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """What to do with the files, a command or a sentence a line."""

    def notes(self, plan: Deployment) -> Sequence[str]:
        """What whoever deploys this would not expect; nothing here stops him."""
        host = (NO_HOST,) if self.names_host and plan.is_local else ()
        return (*host, *ignored(plan.serve, self.not_followed))


NO_HOST = (
    "`deploy.host` is not set, so certificates, server names and routes in these files stand for localhost: good for a "
    "trial on that machine, and refused by clients elsewhere. Set it to the name that clients use, such as "
    "models.example.org, and write the files again."
)


def is_address(host: str) -> bool:
    """Whether a host is an address rather than a name.

    >>> is_address("10.0.0.5"), is_address("models.example.org")
    (True, False)
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def ignored(serve: ServeConfig, not_followed: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each setting that is set, but not followed."""
    return tuple(
        f"`serve.{path}` has no effect here: {why}" for path, why in not_followed.items() if is_set(serve, path)
    )
