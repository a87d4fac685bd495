# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Batches of features with a teacher's answers beside them."""

import torch
from transformers import DataCollatorWithPadding

from .teachers import TARGETS


class DistillationCollator(DataCollatorWithPadding):
    """[`~transformers.DataCollatorWithPadding`] that pads a teacher's distributions too, with zeros, on the same side."""

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """One padded batch; features without a teacher's answers are as ever."""
        features = [dict(feature) for feature in features]
        targets = {name: [feature.pop(name) for feature in features] for name in TARGETS if name in features[0]}
        batch = super().__call__(features)
        width, left = batch["input_ids"].shape[1], self.tokenizer.padding_side == "left"
        for name, rows in targets.items():
            batch[name] = torch.zeros(len(rows), width)
            for line, row in zip(batch[name], rows, strict=True):
                line[slice(width - len(row), width) if left else slice(len(row))] = torch.as_tensor(row)
        return batch
