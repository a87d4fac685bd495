# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Batches: names of the columns that concern labels and a teacher, and arguments of a call."""

import torch

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


def token_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Real tokens of a batch, `(B, L)`."""
    if "attention_mask" in batch:
        return batch["attention_mask"].bool()
    tokens = batch["input_ids"] if "input_ids" in batch else batch["inputs_embeds"][..., 0]
    return torch.ones_like(tokens, dtype=torch.bool)


def at_full_length(model) -> dict:
    """Arguments of a call that drops no token, whatever the model's default budget."""
    return {"budget": FULL} if hasattr(model.config, "resolve_budget") else {}
