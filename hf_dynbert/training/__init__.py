# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The training objective and its Trainer."""

from .arguments import DistillationArguments
from .batches import DistillationCollator
from .teachers import teacher_inputs, teacher_logits, teacher_predictions, teacher_text_inputs
from .terms import PassOutputs, Term
from .trainer import DistillationTrainer, end_together


__all__ = [
    "DistillationArguments",
    "DistillationCollator",
    "DistillationTrainer",
    "PassOutputs",
    "Term",
    "end_together",
    "teacher_inputs",
    "teacher_logits",
    "teacher_predictions",
    "teacher_text_inputs",
]
