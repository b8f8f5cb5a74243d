"""A loaded bundle as it is served: audited, tested on the whole path, with what is said of it in answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from luban.errors import BundleError, LubanError

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.serve.fleet.origins import Wanted


@dataclass(frozen=True)
class Served:
    """A loaded bundle with what is said of it in answers. Immutable; threads share it."""

    wanted: Wanted
    bundle: Bundle
    since: datetime
    cost_bytes: int = 0
    """Memory that it takes, estimated."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.wanted.name or self.bundle.manifest.name

    @property
    def version(self) -> int | None:
        """Number of the version; None for a bundle that is served from a folder."""
        return self.wanted.version

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of all columns of the schema."""
        return frozenset(column.name for column in self.bundle.schema.columns)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns that decide an answer, in order."""
        return tuple(column.name for column in self.bundle.schema.inputs)

    @cached_property
    def lists(self) -> frozenset[str]:
        """Names of the columns whose values may be lists: inputs of such a type, and what is not read."""
        import pyarrow as pa

        features = self.bundle.preprocess.features
        return frozenset(n for n in self.columns if n not in features or pa.types.is_list(features[n].storage))

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of the input columns whose values are files, kept as bytes (pictures)."""
        import pyarrow as pa

        features = self.bundle.preprocess.features
        return frozenset(name for name in features if pa.types.is_large_binary(features[name].storage))

    @cached_property
    def counted(self) -> str | None:
        """The answer column whose values metrics count: the first, if it holds strings, or lists of them."""
        name, kind = next(iter(self.bundle.columns.items()))
        return name if kind in ("string", "array") else None

    @cached_property
    def default_options(self) -> str:
        """The task's options where none are given, as JSON."""
        return self.bundle.task.Options().model_dump_json()

    @cached_property
    def stateless(self) -> bool:
        """Whether an answer depends on nothing but its row: no stage carries anything from call to call."""
        manifest = self.bundle.manifest
        return not manifest.state and all(stage.state is None for stage in manifest.stages)


def try_out(wanted: Wanted, load: Callable[[], Bundle]) -> Served:
    """Load and test it. Raises BundleError where it cannot be served, LubanError or OSError where it cannot be had."""
    try:
        bundle = load()
        if wanted.identity is not None and bundle.identity != wanted.identity:
            raise BundleError(
                f"The registry names identity {wanted.identity[:12]}, but the bundle is {bundle.identity[:12]}.",
                "Release the model again.",
            )
        # Loading tests the graph; this tests the whole path, and warms it up before a client waits for it.
        rows = bundle.example_rows()
        errors = bundle.predict(rows).errors if rows else []
    except (LubanError, OSError):
        raise
    except Exception as error:  # Whatever a damaged model makes a library raise.
        raise BundleError(f"{type(error).__name__}: {error}") from error
    if errors and None not in errors:
        raise BundleError(f"The bundle answers none of its example rows: {errors[0]}.", "Release the model again.")
    return Served(wanted, bundle, datetime.now(UTC))


def import_libraries() -> None:
    """Import what any bundle needs, so that the memory of libraries is not taken for the first bundle's."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import safetensors.numpy  # noqa: F401

    import luban.bundle.bundle  # noqa: F401


def num_bytes(folder: Path) -> int:
    """Size of the files that are kept in memory: all but the reports."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "reports"
    )
