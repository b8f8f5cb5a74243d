"""Settings of deployment (`deploy:` in luban.yaml): what all targets share, and each target's own.

Decided here: settings of the server stay in `serve:`; a target hands them on as environment variables. Knows
no target.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luban.catalog import TARGETS, Choice, Config
from luban.choices import OneOf
from luban.deploy.sizing import SizingConfig

LOCALHOST = "localhost"
_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?((==|>=|<=|~=|<|>)[A-Za-z0-9.*+!_,<>=~-]+)?$"


class DeployConfig(Config):
    """Where and how the model is deployed."""

    targets: tuple[Annotated[Choice, OneOf(TARGETS)], ...] = ()
    """Targets with settings of their own, each `{kind: container, …settings}`; one that is not listed has its
    defaults."""
    to: str = Field("deploy", min_length=1)
    """Folder for the files, seen from luban.yaml; each target has a folder of its name in it."""
    host: str = Field(LOCALHOST, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    """Name by which clients reach the model: it stands in proxies, certificates and routes."""
    model_from: Literal["bundle", "project"] = "bundle"
    """bundle: the champion's files are carried along, and a new version is a new deployment. project: servers follow
    the alias in the ledger (`LUBAN_LEDGER`, `LUBAN_STORE`), and a promotion is enough."""
    replicas: int = Field(2, ge=1, le=1000)
    """Servers side by side."""
    cpus: float = Field(1.0, gt=0)
    """Processor cores of one server."""
    memory_mb: int = Field(512, ge=64)
    """Memory of one server in megabytes (2²⁰ bytes); more, and it is ended and started again."""
    proxy: Literal["nginx", "haproxy"] = "nginx"
    """What stands before the servers: ends TLS, shares requests out, and asks the next server when one is gone."""
    image: str = Field("", pattern=r"^[a-z0-9._/:@-]*$")
    """Name of the container's image; by default the model's name."""
    extras: tuple[str, ...] = ()
    """Extras of Luban that the servers need beside those that settings of `serve` and `model_from` ask for."""
    packages: tuple[Annotated[str, Field(pattern=_PACKAGE)], ...] = ()
    """Other packages that servers need, as pip takes them: the library of your storage (`s3fs`), a plug-in."""
    plan: SizingConfig = Field(default_factory=SizingConfig)
    """What `luban deploy plan` plans for."""

    @model_validator(mode="after")
    def _once(self) -> DeployConfig:
        kinds = [target.kind for target in self.targets]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"each target must stand once, but these stand twice: {', '.join(twice)}")
        return self

    def settings_of(self, kind: str) -> Config:
        """The settings of a target: those that stand in `targets`, or its defaults. Raises UnknownName."""
        for choice in self.targets:
            if choice.kind == kind:
                return choice.config
        defaults: Config = TARGETS.resolve(kind).Config()
        return defaults
