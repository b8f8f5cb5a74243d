"""What sources of files at one path share: where the files are, their fingerprint and pins."""

from __future__ import annotations

from luban.data.sources.base import Source
from luban.data.sources.place import Place, elsewhere, find, find_one, fingerprint_of


class PathSource(Source):
    """Files at `config.path`, relative to `base`. `many`: the path may be a folder or a glob."""

    many = False

    def places(self) -> list[Place]:
        """The files, sorted by path. Raises DataError where there are none."""
        path = self.config.path
        return find(path, self.base) if self.many else [find_one(path, self.base)]

    def fetches(self) -> str | None:
        """The URL, where the path is one."""
        return elsewhere(self.config.path)

    def fingerprint(self) -> str:
        """SHA-256 over the content of all files."""
        return fingerprint_of(self.places())

    def pins(self) -> dict[str, str]:
        """File name to SHA-256."""
        return {place.name: place.sha256() for place in self.places()}
