"""The same bundle with its weights shuffled: what an explanation of the model must not look like.

Decided here: within each tensor of a graph that is float and has two entries or more, and in each ensemble of
trees among leaves and among thresholds, values are dealt out anew; shapes, encoders, vocabulary and decoding stay. So
the random model reads the same input with weights of the same size. Each file's hash is checked again as it is read.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.catalog import RUNTIMES
from luban.errors import BundleError

_TREE_TENSORS = ("nodes_values_as_tensor", "target_weights_as_tensor")
_TREE_LISTS = ("nodes_values", "target_weights")


def graph_files(bundle: Bundle) -> dict[str, bytes] | None:
    """The files of a bundle's stages; None where it was not loaded from a folder, or has other runtimes than ONNX.

    Raises BundleError where a file is not the one that was loaded.
    """
    stages = bundle.manifest.stages
    if bundle.folder is None or any(stage.runtime != "onnx" for stage in stages):
        return None
    found = {}
    for stage in stages:
        for name in stage.files:
            data = (bundle.folder / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != bundle.manifest.files[name].sha256:
                raise BundleError(f"`{name}` was changed after the bundle was loaded.", "Load it again.")
            found[name] = data
    return found


def shuffled(bundle: Bundle, seed: int) -> Bundle | None:
    """A bundle that answers at random; None where `graph_files` gives none."""
    files = graph_files(bundle)
    if files is None:
        return None
    made = {name: shuffled_graph(data, seed) for name, data in files.items()}
    return with_graphs(bundle, made)


def with_graphs(bundle: Bundle, files: Mapping[str, bytes]) -> Bundle:
    """The same bundle with other graphs. For looking at, never for release: it has no folder and no seal."""
    made = copy.copy(bundle)
    made.folder = None
    made._stages = [RUNTIMES.resolve(stage.runtime)().open(stage, files, 1) for stage in bundle.manifest.stages]
    return made


def shuffled_graph(data: bytes, seed: int) -> bytes:
    """An ONNX graph with its weights dealt out anew."""
    import onnx

    model = onnx.load_model_from_string(data)
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        _shuffle(tensor, rng)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in _TREE_TENSORS:
                _shuffle(attribute.t, rng)
            elif attribute.name in _TREE_LISTS:
                dealt = rng.permutation(np.array(attribute.floats, np.float32))
                del attribute.floats[:]
                attribute.floats.extend(dealt.tolist())
    return bytes(model.SerializeToString(deterministic=True))


def _shuffle(tensor: Any, rng: np.random.Generator) -> None:
    """Deal out a tensor's entries anew, in place, if it is float and has two or more."""
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    if array.dtype.kind != "f" or array.size < 2:
        return
    dealt = rng.permutation(array.ravel()).reshape(array.shape)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(dealt), tensor.name))
