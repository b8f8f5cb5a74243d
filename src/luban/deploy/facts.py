"""What targets are told of a project, gathered on this machine. Knows no target."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from luban import __version__
from luban.catalog import FEATURES
from luban.deploy.base import Deployment
from luban.deploy.needs import extras_of
from luban.deploy.pins import own_wheel, pins

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.project import Project


def of_project(project: Project, text: str, bundle: Bundle | None = None) -> Deployment:
    """The facts of a project, whose file holds `text`, and what servers need to read the columns of its bundle."""
    config = project.deploy
    if bundle is not None:
        columns = {FEATURES.resolve(column.type).extra for column in bundle.schema.inputs} - {""}
        config = config.model_copy(update={"extras": tuple(dict.fromkeys((*config.extras, *sorted(columns))))})
    return Deployment(
        name=project.name,
        owner=project.owner,
        purpose=project.purpose,
        luban=__version__,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        serve=project.serve,
        config=config,
        pins=pins(extras_of(project.serve, config), config.packages),
        project=text,
        language=project.language,
        wheel=own_wheel(__version__),
    )
