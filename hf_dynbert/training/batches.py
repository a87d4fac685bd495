# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Batches: the columns of labels and of a teacher, padding, and the `budget` argument."""

from collections.abc import Sequence

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
GROUPS = "groups"  # number of the query of each passage in the batch, for losses of rankings
TEACHER_INPUTS = (INPUTS, TYPES, MASK, PLACES)


class DistillationCollator(DataCollatorWithPadding):
    """[`~transformers.DataCollatorWithPadding`] that also pads the columns of a teacher.

    A row with several passages of one query (`group_passages`) becomes one example for each passage, with the number of its
    row in the column `groups`.

    The teacher's distributions are padded with 0 and `teacher_places` with -1, on the tokenizer's padding side. The
    teacher's tokens are padded with 0, and `teacher_attention_mask` is added.
    """

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """Returns one padded batch."""
        features, groups = ungrouped(features)
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
        if groups is not None:
            batch[GROUPS] = torch.tensor(groups)
        return batch


def ungrouped(features: list[dict]) -> tuple[list[dict], list[int] | None]:
    """A feature for each passage, and the row that it comes from, if the rows have several passages each."""
    if not isinstance(features[0]["input_ids"][0], Sequence):
        return [dict(feature) for feature in features], None
    rows, groups = [], []
    for group, feature in enumerate(features):
        for index in range(len(feature["input_ids"])):
            rows.append({name: values[index] for name, values in feature.items() if name != "length"})
            groups.append(group)
    return rows, groups


def token_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Real tokens of a batch, `(B, L)`."""
    return (batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(batch["input_ids"])).bool()


def budget_argument(model, budget=FULL) -> dict:
    """Returns the `budget` argument of a call; no argument if the model is not length-adaptive."""
    return {"budget": budget} if hasattr(model.config, "resolve_budget") else {}
