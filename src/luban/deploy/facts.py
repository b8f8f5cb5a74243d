"""What targets are told of a project, gathered on this machine. Knows no target."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from luban import __version__
from luban.deploy.base import Deployment
from luban.deploy.needs import extras_of
from luban.deploy.pins import own_wheel, pins

if TYPE_CHECKING:
    from luban.project import Project


def of_project(project: Project, text: str) -> Deployment:
    """The facts of a project, whose file holds `text`; no bundle is named yet."""
    return Deployment(
        name=project.name,
        owner=project.owner,
        purpose=project.purpose,
        luban=__version__,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        serve=project.serve,
        config=project.deploy,
        pins=pins(extras_of(project.serve, project.deploy), project.deploy.packages),
        project=text,
        language=project.language,
        wheel=own_wheel(__version__),
    )
