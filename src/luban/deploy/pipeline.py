"""Pipelines of a code host: test a change, release behind the gates, build the image, roll it out.

Targets `github` and `gitlab` write the same jobs in their host's words. Decided here: a change that is proposed is
trained and evaluated, and releases nothing; on the main branch `luban run` releases, and fails where a gate says no;
ledger and store must be ones that outlive the pipeline's machine (`LUBAN_LEDGER`, `LUBAN_STORE`), since gates compare
with the champion there. Secrets are the host's, by name. What is rolled out waits for the host's approval of its
environment. Knows no cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from luban.catalog import Config
from luban.deploy.base import Deployment, File
from luban.deploy.kubernetes import namespace_of
from luban.deploy.pods import name_of, written
from luban.deploy.templates import header

Steps = tuple[str, ...]


class PipelineConfig(Config):
    """What a pipeline does."""

    branch: str = Field("main", pattern=r"^[A-Za-z0-9._/-]+$")
    """Branch whose state is released."""
    extras: tuple[str, ...] = ("train", "postgres")
    """Extras of Luban that training and the ledger need."""
    rollout: Literal["kubernetes", "none"] = "kubernetes"
    """How a released version reaches its servers; none where servers follow the alias in the ledger."""
    environment: str = Field("production", min_length=1)
    """The code host's environment that a roll-out belongs to: who must approve it is set there."""


@dataclass(frozen=True)
class Jobs:
    """Shell commands of each job, run from the repository's root."""

    install: str
    test: Steps
    release: Steps
    image: Steps
    rollout: Steps


NEEDED = ("LUBAN_LEDGER", "LUBAN_STORE")
_ASK = " && ".join(f'test -n "${name}"' for name in NEEDED)


def jobs(plan: Deployment, config: PipelineConfig) -> Jobs:
    """The commands. `$IMAGE` is the image's full name, which the host's own part sets."""
    extras = tuple(dict.fromkeys((*config.extras, *plan.extras)))
    packages = "".join(f' "{package}"' for package in plan.config.packages)
    wheels = ("cp wheels/*.whl build/container/wheels/",) if plan.wheel else ()
    where = f"-n {namespace_of(plan)}"
    return Jobs(
        install=f'python -m pip install "{plan.install(extras)}"{packages}',
        test=("luban doctor", "luban evaluate"),
        release=(f"{_ASK} || {{ echo 'Set the secrets LUBAN_LEDGER and LUBAN_STORE.' >&2; exit 1; }}", "luban run"),
        image=("luban deploy container --to build/container", *wheels, 'docker build -t "$IMAGE" build/container'),
        rollout=(
            'luban deploy kubernetes --set "deploy.image=$IMAGE" --to build/kubernetes',
            "kubectl apply -k build/kubernetes",
            f"kubectl {where} rollout status deployment/{name_of(plan)} --timeout=10m",
        ),
    )


def pipeline_file(kind: str, path: str, plan: Deployment, pipeline: Mapping[str, Any], about: str = "") -> list[File]:
    """The one file of a pipeline; `about` is a comment at its top."""
    return [File(path, written(pipeline, "\n".join(filter(None, (header(kind, plan), about)))))]


def wheel_steps(plan: Deployment) -> Steps:
    """Where the pipeline finds Luban, if no index has it."""
    return (f"Put Luban's wheel into the repository, as wheels/{plan.wheel}: no index has it.",) if plan.wheel else ()


def secrets(config: PipelineConfig) -> Steps:
    """Names of the secrets that a pipeline reads."""
    return (*NEEDED, *(("KUBECONFIG_DATA",) if config.rollout == "kubernetes" else ()))


KUBECONFIG = (
    'export KUBECONFIG="$(mktemp)"',
    """trap 'rm -f "$KUBECONFIG"' EXIT""",
    'printf %s "$KUBECONFIG_DATA" | base64 -d > "$KUBECONFIG"',
)
"""A file that only its owner reads, out of a secret that holds it in base64; gone when the shell ends."""
