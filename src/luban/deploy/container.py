"""Target `container`: a Dockerfile and what stands beside it.

Decided here: two stages on one base, so that no build tool is in the image that runs; a numeric user without
rights; nothing is written to the root, so that it can be read-only; libraries at the versions of the
machine that released; a build that would bring PyTorch fails. Runs with any builder of OCI images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from luban.catalog import Config as Settings
from luban.deploy.base import Deployment, File, Target
from luban.deploy.templates import header, render

KIND = "container"
PORT = 8000


class Container(Target):
    """An image that answers: multi-stage Dockerfile, non-root, read-only root, no PyTorch."""

    class Config(Settings):
        """How the image is built."""

        base: str = Field("", pattern=r"^[a-z0-9._/:@-]*$")
        """Base image with Python; by default the slim one of Debian, with this machine's Python version."""
        bundle: Literal["baked", "mounted"] = "baked"
        """baked: the bundle is part of the image. mounted: it is mounted at /bundle when the image is run."""
        user: int = Field(10001, ge=1, le=2**31 - 1)
        """Number of the user and group that run it."""

    def carries_bundle(self, plan: Deployment) -> bool:
        """Where it is baked in."""
        return self._baked(plan)

    def files(self, plan: Deployment) -> Sequence[File]:
        """Dockerfile, .dockerignore, requirements, constraints, and a folder for wheels."""
        return image_files(KIND, plan, self.config, self._baked(plan))

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """Build and run."""
        mount = "" if self._baked(plan) or plan.config.model_from == "project" else " -v ./bundle:/bundle:ro"
        return (
            f"docker build -t {plan.image} .          # or: buildah bud -t {plan.image} .",
            f"docker run --read-only --tmpfs /tmp --cap-drop ALL --env-file keys.env{mount} "
            f"-p {PORT}:{PORT} {plan.image}",
        )

    def _baked(self, plan: Deployment) -> bool:
        return self.config.bundle == "baked" and plan.config.model_from == "bundle"


def image_files(kind: str, plan: Deployment, config: Container.Config, baked: bool) -> list[File]:
    """What an image is built from; other targets build the same one."""
    base = config.base or f"python:{plan.python}-slim-bookworm"
    values = {"base": base, "user": config.user, "port": PORT, "baked": baked}
    return [
        File("Dockerfile", render("container/Dockerfile", kind, plan, values)),
        File(".dockerignore", render("container/dockerignore", kind, plan, values)),
        *requirements(kind, plan),
    ]


def requirements(kind: str, plan: Deployment) -> list[File]:
    """What Luban is installed from, and the project file where servers read it."""
    extras = f"[{','.join(plan.config.extras)}]" if plan.config.extras else ""
    pins = "".join(f"{name}=={version}\n" for name, version in plan.pins.items())
    top = header(kind, plan) + "\n"
    files = [
        File("requirements.txt", f"{top}luban{extras}=={plan.luban}\n"),
        File("constraints.txt", f"{top}# Versions on the machine that wrote this.\n{pins}"),
        File("wheels/README.txt", f"{top}# Wheels in this folder are found before any index is asked.\n"),
    ]
    if plan.config.model_from == "project":
        files.append(File("luban.yaml", f"{top}{plan.project}"))
    return files
