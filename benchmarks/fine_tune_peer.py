"""The peer's side of `fine_tune`: the Hugging Face Trainer with its defaults, in an environment without Luban.

    python fine_tune_peer.py ENCODER ROWS.json SEED EVALUATIONS

Step size 5e-5, falling in a line, 3 epochs, batches of 8 padded to their longest row, AdamW, norm 1: all are
the Trainer's own. Prints a line of JSON for each evaluation: seconds of training so far by the clock and of the
processor, log loss, accuracy.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

EPOCHS, BATCH = 3, 8


def now() -> np.ndarray:
    """Seconds [2] by the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


class Timed(Trainer):
    """Says how long it has trained, evaluations left out."""

    began = np.zeros(2)
    paused = np.zeros(2)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        start = now()
        found: dict[str, float] = super().evaluate(*args, **kwargs)
        trained = start - self.began - self.paused
        print(json.dumps([*trained, found["eval_loss"], found["eval_accuracy"]]), flush=True)
        self.paused = self.paused + now() - start
        return found

    def log(self, *_: Any, **__: Any) -> None:
        """Nothing: standard output is for figures."""


def main(encoder: str, rows_file: str, seed: str, evaluations: str) -> None:
    said = json.loads(Path(rows_file).read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(int(seed))
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)

    def rows(split: str) -> list[dict[str, Any]]:
        texts, labels = said[split]
        found = tokenizer(texts, truncation=True, max_length=said["max_tokens"])["input_ids"]
        return [{"input_ids": ids, "labels": label} for ids, label in zip(found, labels, strict=True)]

    steps = -(-len(said["train"][0]) // BATCH) * EPOCHS
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        seed=int(seed),
        use_cpu=True,
        eval_strategy="steps",
        eval_steps=max(steps // int(evaluations), 1),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    score = lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}  # noqa: E731
    trainer = Timed(
        model,
        settings,
        train_dataset=rows("train"),  # type: ignore[arg-type]
        eval_dataset=rows("valid"),
        processing_class=tokenizer,
        compute_metrics=score,
    )
    trainer.began = now()
    trainer.train()
    trainer.evaluate()


if __name__ == "__main__":
    main(*sys.argv[1:])
