from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from luban.errors import ConfigError

from .. import made as tables
from .made import BLOCKS, TOKENS, context, family, untrained

SMALL = {"kind": "conv", "dims": 8, "filters": 4}


def named(entries: list[str], name: str = "aa"):
    block = replace(TOKENS, name=f"text/tokens/{name}", size=len(entries) + 2, entries=entries)
    return (block, *BLOCKS[1:])


def kept(model, folder: Path) -> Path:
    save_file(
        {name: np.ascontiguousarray(array) for name, array in model.checkpoint().items()},
        folder / "checkpoint.safetensors",
    )
    return folder


def rows(block):
    """The made rows under another block's name; entries stay below its size."""
    from .made import arrays

    made = {name.replace(TOKENS.name, block.name): part for name, part in arrays().items()}
    made[block.part("ids")] = made[block.part("ids")] % block.size
    return made


def model_of(blocks, kind="binary", **settings):
    given = context(kind, blocks, loop=untrained(kind), valid=rows(blocks[0]))
    given = replace(given, y_valid=given.y_valid[:0])
    from .made import target

    train = rows(blocks[0])
    return family(SMALL, **settings).fit(train, target(rows(TOKENS), kind), given)


def table(model) -> np.ndarray:
    return model.checkpoint()["nets.text/tokens.embedding.weight"]


@pytest.fixture
def former(tmp_path):
    model = model_of(named(["a", "b", "c"]))
    return model, kept(model, tmp_path)


def test_the_same_network_goes_on_where_it_was(former):
    model, folder = former
    again = model_of(named(["a", "b", "c"]), start_from=str(folder))
    first, second = model.checkpoint(), again.checkpoint()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert again.notes == ""


def test_entries_keep_their_embeddings_in_another_vocabulary(former):
    model, folder = former
    blocks = named(["b", "c", "d", "e"], "bb")
    again, fresh = model_of(blocks, start_from=str(folder)), model_of(blocks)
    assert np.array_equal(table(again)[:2], table(model)[:2])
    assert np.array_equal(table(again)[2:4], table(model)[3:5])
    assert np.array_equal(table(again)[4:], table(fresh)[4:])
    assert "2 of 4 entries of `text` are new" in again.notes


def test_no_strings_are_in_a_checkpoint(former):
    from luban.models.neural.continued import stated

    model = model_of(named(["secret", "b"]))
    assert b"secret" not in b"".join(array.tobytes() for array in stated(model.module).values())


def test_a_head_of_another_width_begins_anew(former):
    model, folder = former
    again = model_of(named(["a", "b", "c"]), "softmax", start_from=str(folder))
    assert np.array_equal(table(again), table(model))
    assert "the head begins anew: it had 1 outputs, and has 3" in again.notes


def test_other_shapes_are_refused_by_name(former):
    with pytest.raises(ConfigError, match=r"hidden\.0\.weight is 128×"):
        model_of(named(["a", "b", "c"]), start_from=str(former[1]), hidden=[64])


def test_other_columns_are_refused_by_name(former):
    given = (*named(["a", "b", "c"]), tables.BAG)
    with pytest.raises(ConfigError, match=r"nets\.text/bag\.embedding\.weight is missing"):
        model_of(given, start_from=str(former[1]))


def test_another_pretrained_tokenizer_is_refused(tmp_path):
    folder = kept(model_of(BLOCKS), tmp_path)
    other = replace(TOKENS, name="text/tokens/zz")
    with pytest.raises(ConfigError, match="another tokenizer or vocabulary"):
        model_of((other, *BLOCKS[1:]), start_from=str(folder))


@pytest.mark.parametrize(("content", "message"), [(None, "has none"), (b"no weights", "cannot be read")])
def test_a_folder_without_a_checkpoint(tmp_path, content, message):
    if content is not None:
        (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        model_of(named(["a"]), start_from=str(tmp_path))
