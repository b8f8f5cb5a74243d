"""GitHub Actions: the pipeline as one workflow. See `pipeline`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luban.deploy.base import Deployment, File, Target
from luban.deploy.pipeline import KUBECONFIG, Jobs, PipelineConfig, jobs, pipeline_file, secrets, wheel_steps

KIND, PATH = "github", ".github/workflows/luban.yaml"
# By commit, since a tag may be moved to other code; their versions stand at the top of the file.
_CHECKOUT = {
    "uses": "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683",
    "with": {"persist-credentials": False},
}
_PYTHON = "actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065"
_VERSIONS = "# Actions by their commits: checkout v4.2.2, setup-python v5.6.0."
_SMALL = {"name": "Images have names in small letters", "run": 'echo "IMAGE=${IMAGE,,}" >> "$GITHUB_ENV"'}
_PUSH = """\
export DOCKER_CONFIG="$(mktemp -d)"
trap 'rm -rf "$DOCKER_CONFIG"' EXIT
echo "$TOKEN" | docker login ghcr.io -u "$GITHUB_ACTOR" --password-stdin
docker push "$IMAGE"
"""


class GitHub(Target):
    """A workflow that tests, releases behind the gates, builds and rolls out."""

    class Config(PipelineConfig):
        """What the pipeline does."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """The workflow."""
        return pipeline_file(KIND, PATH, plan, self._workflow(plan, jobs(plan, self.config)), _VERSIONS)

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        return [
            *wheel_steps(plan),
            "Put the folder .github at the root of the repository.",
            f"Set the repository's secrets: {', '.join(secrets(self.config))}.",
            f"Say in its environment `{self.config.environment}` who must approve.",
        ]

    def _workflow(self, plan: Deployment, found: Jobs) -> dict[str, Any]:
        branch, python = self.config.branch, self._python(plan)
        on_branch = f"github.ref == 'refs/heads/{branch}' && github.event_name != 'pull_request'"
        state = {name: f"${{{{ secrets.{name} }}}}" for name in ("LUBAN_LEDGER", "LUBAN_STORE")}
        image = f"ghcr.io/${{{{ github.repository }}}}/{plan.name}:${{{{ github.sha }}}}"
        test = {
            "if": "github.event_name == 'pull_request'",
            "runs-on": "ubuntu-latest",
            "timeout-minutes": 120,
            "steps": [_CHECKOUT, python, *_runs(found.install, *found.test)],
        }
        release = {
            "if": on_branch,
            "runs-on": "ubuntu-latest",
            "timeout-minutes": 240,
            "permissions": {"contents": "read", "packages": "write"},
            "env": state,
            "steps": [
                _CHECKOUT,
                python,
                _SMALL,
                *_runs(found.install, *found.release, *found.image),
                {"name": "Push the image", "env": {"TOKEN": "${{ secrets.GITHUB_TOKEN }}"}, "run": _PUSH},
            ],
        }
        made: dict[str, Any] = {"test": test, "release": release}
        if self.config.rollout == "kubernetes":
            made["rollout"] = {
                "needs": "release",
                "runs-on": "ubuntu-latest",
                "timeout-minutes": 30,
                "environment": self.config.environment,
                "env": {**state, "KUBECONFIG_DATA": "${{ secrets.KUBECONFIG_DATA }}"},
                "steps": [
                    _CHECKOUT,
                    python,
                    _SMALL,
                    *_runs(found.install),
                    {"name": "Roll out", "run": "\n".join([*KUBECONFIG, *found.rollout]) + "\n"},
                ],
            }
        return {
            "name": f"luban {plan.name}",
            "on": {"push": {"branches": [branch]}, "pull_request": {}, "workflow_dispatch": {}},
            "permissions": {"contents": "read"},
            "concurrency": {"group": f"luban-{plan.name}-${{{{ github.ref }}}}", "cancel-in-progress": False},
            "env": {**plan.environment, "IMAGE": image},
            "jobs": made,
        }

    def _python(self, plan: Deployment) -> dict[str, Any]:
        # The cache is named after a file; without `cache-dependency-path` the job fails where no requirements.txt is.
        cache = {"cache": "pip", "cache-dependency-path": "luban.yaml"}
        return {"uses": _PYTHON, "with": {"python-version": plan.python, **cache}}


def _runs(*commands: str) -> list[dict[str, str]]:
    return [{"run": command} for command in commands]
