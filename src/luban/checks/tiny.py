"""A BERT-style encoder with sixteen figures an entry, made here: what pretrained towers and converters are tried on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from luban.catalog import need
from luban.features.pretrained import PretrainedFiles

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij", "good", "bad", "##ly", "好", "吃", "不", "!", "not")


def tiny_tokenizer() -> Any:
    """A WordPiece tokenizer of a few words, with its marks."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    return tokenizer


def tiny_bert(folder: Path, kind: str = "bert", seed: int = 0, **settings: Any) -> Path:
    """Write `config.json`, `model.safetensors` and `tokenizer.json` of an untrained encoder into `folder`."""
    from luban.models.neural.bert import quiet

    torch, transformers = need("torch", "neural"), need("transformers", "neural")
    sizes = {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32} if kind == "distilbert" else {}
    sizes = sizes or {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    if kind == "electra":
        sizes["embedding_size"] = 16
    quiet(transformers)
    config = transformers.AutoConfig.for_model(
        kind, **{"vocab_size": len(WORDS), "max_position_embeddings": 40, "pad_token_id": 0, **sizes, **settings}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@contextmanager
def settings_of(component: Any) -> Iterator[dict[str, Any]]:
    """Settings that a component can be made with: none, or a tiny encoder where it must be told one."""
    field = component.Config.model_fields.get("model")
    if field is None or field.annotation is not PretrainedFiles or not field.is_required():
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield {"model": str(tiny_bert(Path(folder))), "max_tokens": 16}
