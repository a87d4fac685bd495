# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Batches: the columns of labels and of a teacher, padding, and the `budget` argument."""

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorWithPadding

from ..subnetwork import FULL


SPANS = ("start_positions", "end_positions")  # labels of question answering
TARGETS = ("teacher_start", "teacher_end")  # a teacher's distributions over the student's tokens
LOGITS = "teacher_logits"  # a teacher's logits, in the order of the student's labels
ANSWERS = (*TARGETS, LOGITS)

INPUTS = "teacher_input_ids"  # what a teacher with another tokenizer reads
TYPES = "teacher_token_type_ids"
MASK = "teacher_attention_mask"
PLACES = "teacher_places"  # for each token of the student its position among the teacher's tokens; -1: none
TEACHER_INPUTS = (INPUTS, TYPES, MASK, PLACES)


class DistillationCollator(DataCollatorWithPadding):
    """[`~transformers.DataCollatorWithPadding`] that also pads the columns of a teacher.

    The teacher's distributions are padded with 0 and `teacher_places` with -1, on the tokenizer's padding side. The
    teacher's tokens are padded with 0, and `teacher_attention_mask` is added.
    """

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """Returns one padded batch."""
        features = [dict(feature) for feature in features]
        columns = [name for name in (*ANSWERS, INPUTS, TYPES, PLACES) if name in features[0]]
        rows = {name: [torch.as_tensor(feature.pop(name)) for feature in features] for name in columns}
        batch = super().__call__(features)
        if INPUTS in rows:
            rows[MASK] = [torch.ones_like(row) for row in rows[INPUTS]]
        for name, values in rows.items():
            if name in (*TARGETS, PLACES):
                widest = values[0].new_zeros(batch["input_ids"].shape[1])  # a row as wide as the padded tokens
                value, side = -1 if name == PLACES else 0, self.tokenizer.padding_side
                batch[name] = pad_sequence([*values, widest], batch_first=True, padding_value=value, padding_side=side)[:-1]
            else:
                batch[name] = pad_sequence(values, batch_first=True)
        return batch


def token_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Real tokens of a batch, `(B, L)`."""
    return (batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(batch["input_ids"])).bool()


def budget_argument(model, budget=FULL) -> dict:
    """Returns the `budget` argument of a call; no argument if the model is not length-adaptive."""
    return {"budget": budget} if hasattr(model.config, "resolve_budget") else {}
