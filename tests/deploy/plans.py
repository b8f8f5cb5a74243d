"""What is deployed in these tests."""

from __future__ import annotations

from typing import Any

from luban.deploy.base import Deployment
from luban.deploy.config import DeployConfig
from luban.serve.config import ServeConfig


def plan(serve: ServeConfig | None = None, **settings: Any) -> Deployment:
    """A deployment of the tiny bundle; `settings` are those of the section `deploy`."""
    return Deployment(
        name="reviews",
        owner="the team",
        purpose='Route "unhappy" guests, for $5.',
        luban="0.1.0",
        python="3.11",
        serve=serve or ServeConfig(),
        config=DeployConfig(**{"host": "models.example.org", **settings}),
        identity="ab" * 32,
        pins={"numpy": "2.4.6"},
        project="name: reviews\ndata: {source: reviews.csv}\n",
    )
