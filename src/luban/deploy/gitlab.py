"""GitLab CI: the pipeline as .gitlab-ci.yml. See `pipeline`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luban.deploy.base import Deployment, File, Target
from luban.deploy.pipeline import KUBECONFIG, Jobs, PipelineConfig, jobs, pipeline_file, secrets, wheel_steps

KIND, PATH = "gitlab", ".gitlab-ci.yml"
_KUBECTL = "alpine/k8s:1.33.0"
_LOGIN = 'echo "$CI_REGISTRY_PASSWORD" | docker login -u "$CI_REGISTRY_USER" --password-stdin "$CI_REGISTRY"'


class GitLab(Target):
    """A pipeline that tests, releases behind the gates, builds and rolls out."""

    class Config(PipelineConfig):
        """What the pipeline does."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """The pipeline."""
        return pipeline_file(KIND, PATH, plan, self._pipeline(plan, jobs(plan, self.config)))

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        return [
            *wheel_steps(plan),
            "Put .gitlab-ci.yml at the root of the repository, or `include` it.",
            f"Set masked variables: {', '.join(secrets(self.config))}.",
            f"Protect the environment `{self.config.environment}`, and say who may deploy to it.",
        ]

    def _pipeline(self, plan: Deployment, found: Jobs) -> dict[str, Any]:
        on_branch = [{"if": f'$CI_COMMIT_BRANCH == "{self.config.branch}"'}]
        write = [command for command in found.image if command.startswith("luban")]
        build = [command for command in found.image if not command.startswith("luban")]
        files = [command for command in found.rollout if command.startswith("luban")]
        apply = [command for command in found.rollout if not command.startswith("luban")]
        with_rollout = self.config.rollout == "kubernetes"
        made: dict[str, Any] = {
            "test": {
                "stage": "test",
                "rules": [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}],
                "script": [found.install, *found.test],
            },
            "release": {
                "stage": "release",
                "rules": on_branch,
                "resource_group": f"luban-{plan.name}",
                "script": [found.install, *found.release, *write, *(files if with_rollout else [])],
                # The bundle's example rows are in it: not for all who may see the project.
                "artifacts": {"paths": ["build/"], "expire_in": "1 week", "access": "developer"},
            },
            "build": {
                "stage": "build",
                "rules": on_branch,
                "image": "docker:28",
                "services": ["docker:28-dind"],
                "variables": {"DOCKER_TLS_CERTDIR": "/certs"},
                "script": [_LOGIN, *build, 'docker push "$IMAGE"'],
            },
        }
        if with_rollout:
            made["rollout"] = {
                "stage": "rollout",
                "rules": on_branch,
                "image": {"name": _KUBECTL, "entrypoint": [""]},
                "environment": {"name": self.config.environment},
                "script": [*KUBECONFIG, *apply],
            }
        return {
            "stages": list(made),
            # Not the slim one: libraries of trees need libgomp, which it does not have.
            "default": {"image": f"python:{plan.python}-bookworm", "interruptible": False},
            "variables": {
                **plan.environment,
                "IMAGE": f"$CI_REGISTRY_IMAGE/{plan.name}:$CI_COMMIT_SHA",
                "PIP_CACHE_DIR": "$CI_PROJECT_DIR/.cache/pip",
            },
            "cache": {"key": "pip", "paths": [".cache/pip"]},
            **made,
        }
