# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What training optimises, and the Trainer that optimises it."""

from .arguments import DistillationArguments
from .collator import DistillationCollator
from .teachers import teacher_inputs, teacher_predictions
from .trainer import DistillationTrainer


__all__ = ["DistillationArguments", "DistillationCollator", "DistillationTrainer", "teacher_inputs", "teacher_predictions"]
