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
from luban.deploy.base import Deployment, File, Target, refuse_secrets
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
        mount = "" if self._baked(plan) else " -v ./bundle:/bundle:ro"
        if plan.config.model_from == "project":
            mount = f" -v {plan.name}-state:/state"
        # Loopback alone: it speaks plain HTTP, and a published port passes a machine's firewall by.
        grpc = f"-p 127.0.0.1:{plan.serve.grpc.port}:{plan.serve.grpc.port} " if plan.serve.grpc.port else ""
        return (
            *wheel_steps(plan),
            '[ -e keys.env ] || (umask 077 && echo "LUBAN_API_KEY=$(openssl rand -hex 32)" >keys.env)',
            f"docker build -t {plan.image} .          # or: buildah bud -t {plan.image} .",
            *state_steps(plan, f"{plan.name}-state", self.config.user),
            "docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
            f"--memory {plan.config.memory_mb}m --cpus {plan.config.cpus:g} --env-file keys.env{mount} "
            f"-p 127.0.0.1:{PORT}:{PORT} {grpc}{plan.image}",
            "# It speaks plain HTTP, to this machine alone; a proxy before it (luban deploy proxy) answers others.",
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


_WHEELS = """\
# Wheels in this folder are taken where no index has them. Luban's own, where it is on no index:
#     pip wheel --no-deps --wheel-dir . FOLDER-OR-URL-OF-LUBAN
"""


def wheel_steps(plan: Deployment) -> tuple[str, ...]:
    """How Luban's own wheel is made, where no index has it."""
    if not plan.wheel:
        return ()
    return ("pip wheel --no-deps --wheel-dir wheels LUBAN          # the folder or URL that Luban was installed from",)


def state_steps(plan: Deployment, volume: str, user: int) -> tuple[str, ...]:
    """How a new volume gets the state that servers follow; nothing where the bundle is carried along."""
    if plan.config.model_from != "project":
        return ()
    return (
        "# once the image is built, the state: from a backup (luban backup), or LUBAN_LEDGER and LUBAN_STORE elsewhere",
        f"docker run --rm --user 0 --entrypoint sh -v {volume}:/state -v ./BACKUP:/backup:ro {plan.image} "
        f"-c 'luban restore /backup --project /project && chown -R {user}:{user} /state'",
    )


def requirements(kind: str, plan: Deployment) -> list[File]:
    """What Luban is installed from, and the project file where servers read it."""
    pins = "".join(f"{name}=={version}\n" for name, version in plan.pins.items())
    top = header(kind, plan) + "\n"
    files = [
        File(
            "requirements.txt", top + "".join(f"{one}\n" for one in (plan.install(plan.extras), *plan.config.packages))
        ),
        File("constraints.txt", f"{top}# Versions on the machine that wrote this.\n{pins}"),
        File("wheels/README.txt", f"{top}{_WHEELS}"),
    ]
    if plan.config.model_from == "project":
        refuse_secrets(plan.project)
        files.append(File("luban.yaml", f"{top}{plan.project}"))
    return files
