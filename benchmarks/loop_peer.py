"""The peers' side of `loop`: a bare PyTorch loop, Lightning, and the Hugging Face Trainer.

    python loop_peer.py bare|lightning|trainer SIZE STEPS

Runs in an environment that has them and not Luban. Each trains with AdamW (fused), clips gradients, follows a cosine
schedule, logs the loss, asks validation rows now and then and may stop early; the bare loop does none of that but the
optimiser's steps.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from loop_model import BATCH, CLIP, EVERY, LEARNING_RATE, ROWS, WEIGHT_DECAY, Model, rows


def adamw(model: Model) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)


def bare(model: Model, steps: int) -> None:
    ids, labels = rows()
    optimizer = adamw(model)
    model.train()
    while steps > 0:
        for some in torch.randperm(ROWS).split(BATCH):
            loss = model(ids[some], labels[some])["loss"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps -= 1
            if not steps:
                return


def lightning(model: Model, steps: int) -> None:
    import lightning as li
    from lightning.pytorch.callbacks import EarlyStopping
    from lightning.pytorch.loggers import CSVLogger

    class Module(li.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, _: int) -> Any:
            loss = self.model(*batch)["loss"].mean()
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("valid", self.model(*batch)["loss"].mean())

        def configure_optimizers(self) -> Any:
            optimizer = adamw(model)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    ids, labels = rows()
    folder = tempfile.mkdtemp()
    trainer = li.Trainer(
        max_steps=steps,
        accelerator="cpu",
        gradient_clip_val=CLIP,
        val_check_interval=EVERY,
        log_every_n_steps=10,
        callbacks=[EarlyStopping("valid", patience=1000)],
        logger=CSVLogger(folder),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    train = DataLoader(TensorDataset(ids[:ROWS], labels[:ROWS]), batch_size=BATCH, shuffle=True)
    trainer.fit(Module(), train, DataLoader(TensorDataset(ids[ROWS:], labels[ROWS:]), batch_size=BATCH))


class Named(Dataset[dict[str, Any]]):
    """Rows as the Trainer likes them."""

    def __init__(self, ids: torch.Tensor, labels: torch.Tensor) -> None:
        self.ids, self.labels = ids, labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"ids": self.ids[row], "labels": self.labels[row]}


class Mean(torch.nn.Module):
    """The model with a mean loss, as the Trainer expects it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        found = self.model(ids, labels)
        return {"loss": found["loss"].mean(), "logits": found["logits"]}


def trainer(model: Model, steps: int) -> None:
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

    ids, labels = rows()
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        max_steps=steps,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIP,
        lr_scheduler_type="cosine",
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        eval_strategy="steps",
        eval_steps=EVERY,
        save_strategy="no",
        logging_steps=10,
        metric_for_best_model="loss",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    fit = Trainer(
        Mean(model),
        settings,
        train_dataset=Named(ids[:ROWS], labels[:ROWS]),
        eval_dataset=Named(ids[ROWS:], labels[ROWS:]),
        callbacks=[EarlyStoppingCallback(1000)],
    )
    fit.log = lambda *_, **__: None  # type: ignore[method-assign]  # standard output is for turns
    fit.train()


if __name__ == "__main__":
    torch.manual_seed(0)
    {"bare": bare, "lightning": lightning, "trainer": trainer}[sys.argv[1]](Model(sys.argv[2]), int(sys.argv[3]))
    print("done", flush=True)
