"""Links: a bundle's folder may be one; nothing in it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from luban.bundle.bundle import Bundle
from luban.errors import BundleError
from serve.tiny import write_tiny


def test_a_link_to_a_bundle_is_a_bundle(tmp_path: Path) -> None:
    identity = write_tiny(tmp_path / "there").identity
    (tmp_path / "link").symlink_to("there")
    assert Bundle.load(tmp_path / "link").identity == identity


@pytest.mark.parametrize("name", ["stages", "stages/model.onnx", "examples.json"])
def test_nothing_in_a_bundle_is_a_link(name: str, tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    (tmp_path / "bundle" / name).rename(tmp_path / "outside")
    (tmp_path / "bundle" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "bundle")
