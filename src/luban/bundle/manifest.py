"""The manifest: what a bundle is, as one JSON file.

Decided here: *identity* is a hash over what decides answers (stages, state, schema, row steps,
encoders, task and decoding) and over nothing else; times, hosts and run ids are outside it. The
*seal* is a hash over the whole manifest, so that a changed byte anywhere is found. Fields that are
not built yet (`state`, `base`, a stage's `when` and `state`) are reserved: they must be empty.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from luban.catalog import Config, canonical, fingerprint
from luban.data.schema import Schema
from luban.tasks.base import Head

MANIFEST = "manifest.json"


class FileSpec(Config):
    """One file of the bundle."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class StageSpec(Config):
    """One stage of the graph of stages: what runs, from which arrays to which."""

    name: str
    runtime: str
    files: tuple[str, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    when: None = None
    """Reserved: rows that this stage is for."""
    state: None = None
    """Reserved: arrays that are carried from call to call."""


class EncoderSpec(Config):
    """One fitted encoder: which column, read by which column type, as which kind of array."""

    column: str
    array_kind: str
    fingerprint: str
    file: str
    tensors: str | None = None
    size: int


class RowStepSpec(Config):
    """A row step that changes values, for the named columns."""

    kind: str
    config: dict[str, Any]
    columns: tuple[str, ...]


class TaskSpec(Config):
    """The task with its fitted decoding."""

    kind: str
    config: dict[str, Any]
    head: Literal["binary", "softmax", "real", "quantile", "candidates", "vector", "boxes", "score", "next"]
    width: int = Field(ge=1)
    decoding: dict[str, Any]
    target: str

    def as_head(self) -> Head:
        """The head that the last stage gives."""
        return Head(self.head, self.width)


class Manifest(BaseModel):
    """All that a bundle says of itself."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, use_attribute_docstrings=True
    )

    protocol: int
    luban: str
    """Version of Luban that wrote it."""
    name: str
    owner: str
    purpose: str
    task: TaskSpec
    dataset_schema: Schema = Field(alias="schema")
    row_steps: tuple[RowStepSpec, ...]
    encoders: tuple[EncoderSpec, ...]
    stages: tuple[StageSpec, ...]
    state: tuple[()] = ()
    """Reserved: state arrays, with initial values and scope."""
    base: None = None
    """Reserved: another bundle's hash, of which this one is a difference."""
    personal: tuple[str, ...] = ()
    """Files that hold rows or values taken from rows."""
    lineage: dict[str, Any] = Field(default_factory=dict)
    audit_head: str = ""
    files: dict[str, FileSpec]
    identity: str = ""
    seal: str = ""

    def decisive(self) -> dict[str, Any]:
        """The part that decides answers."""
        stages = [{**s.model_dump(mode="json"), "files": [self.files[f].sha256 for f in s.files]} for s in self.stages]
        return {
            "protocol": self.protocol,
            "stages": stages,
            "state": [],
            "schema": self.dataset_schema.model_dump(mode="json"),
            "row_steps": [step.model_dump(mode="json") for step in self.row_steps],
            "encoders": [
                {"column": e.column, "array_kind": e.array_kind, "fingerprint": e.fingerprint} for e in self.encoders
            ],
            "task": self.task.model_dump(mode="json"),
        }

    def sealed(self) -> Manifest:
        """The same manifest with identity and seal computed."""
        named = self.model_copy(update={"identity": fingerprint(self.decisive()), "seal": ""})
        return named.model_copy(update={"seal": fingerprint(named.model_dump(mode="json"))})

    def to_bytes(self) -> bytes:
        """Canonical JSON, UTF-8, one line."""
        return canonical(self.model_dump(mode="json")) + b"\n"
