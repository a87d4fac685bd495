# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Padded batches of features, with the columns that concern a teacher."""

import torch
from transformers import DataCollatorWithPadding

from .batches import INPUTS, LOGITS, MASK, PLACES, TARGETS, TYPES


class DistillationCollator(DataCollatorWithPadding):
    """[`~transformers.DataCollatorWithPadding`] that also pads the columns of a teacher, on the same side.

    It pads the teacher's distributions with 0, positions of tokens with -1, and the teacher's tokens with 0 and a
    `teacher_attention_mask`. A teacher's logits need no padding.
    """

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """One padded batch; without columns of a teacher, the same as the parent's."""
        features = [dict(feature) for feature in features]
        columns = [name for name in (*TARGETS, LOGITS, PLACES, INPUTS, TYPES) if name in features[0]]
        rows = {name: [torch.as_tensor(feature.pop(name)) for feature in features] for name in columns}
        batch = super().__call__(features)
        width = batch["input_ids"].shape[1]
        for name in {*TARGETS, PLACES} & rows.keys():
            batch[name] = self._padded(rows[name], width, -1 if name == PLACES else 0)
        if LOGITS in rows:
            batch[LOGITS] = torch.stack(rows[LOGITS])
        if INPUTS in rows:
            rows[MASK] = [torch.ones_like(row) for row in rows[INPUTS]]
            longest = max(map(len, rows[INPUTS]))
            batch |= {name: _right(rows[name], longest) for name in (INPUTS, TYPES, MASK) if name in rows}
        return batch

    def _padded(self, rows: list[torch.Tensor], width: int, value: int) -> torch.Tensor:
        if self.tokenizer.padding_side == "right":
            return _right(rows, width, value)
        return _right([row.flip(0) for row in rows], width, value).flip(1)


def _right(rows: list[torch.Tensor], width: int, value: int = 0) -> torch.Tensor:
    return torch.stack([torch.nn.functional.pad(row, (0, width - len(row)), value=value) for row in rows])
