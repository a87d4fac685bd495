# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What the trainer can be told, beside `TrainingArguments`."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..configuration_dynamic_tinybert import IMPORTANCES
from .losses import DIRECTIONS


LENGTH_SAMPLINGS = ("macs", "ratio")


@dataclass
class DistillationArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] and the objective of [`DistillationTrainer`].

    Args:
        length_drop (`bool`): whether to train at sampled length configurations (LengthDrop, arXiv 2010.07003); without,
            the model is fine-tuned plainly.
        importance (`str`): what decides which tokens stay, see [`DynamicTinyBertConfig`]; set on the model before training.
        num_sandwich (`int`): sub-models of a step between the full and the smallest.
        budget_prob (`float`): probability that such a sub-model is one of the model's own `config.budgets` rather than a
            sampled one: what it will be asked for most is trained most.
        length_sampling (`str`): `"macs"` draws places and sizes of the drops evenly over cost, down to `smallest_macs`;
            `"ratio"` draws each layer's drop up to `length_drop_ratio_bound`, as the papers do.
        always_smallest (`bool`): whether each step has the smallest sub-model, as the sandwich rule says; without, only the
            `num_sandwich` sampled ones, which suits short training for a few budgets.
        smallest_macs (`float`): cost of the smallest sub-model, as a part of the full model's operations.
        largest_macs (`float`): most that a sampled sub-model costs.
        length_drop_ratio_bound (`float`): most that a layer drops of its incoming tokens.
        layer_dropout_prob (`float`): LayerDrop's probability, in all passes, the full one included.
        divergence_direction (`str`): `"forward"`, KL(full ‖ sub), or `"reference"`, what the published code computes.
        temperature (`float`): of the in-place distillation.
        prediction_weight (`float`): weight of a teacher's answers, where the features have them (see `teacher_predictions`).
        hard_label_weight (`float`): weight of the labels; 0 learns from the teacher alone, as TinyBERT does (arXiv
            1909.10351), more from both, as Simplified TinyBERT does (2009.07531).
        teacher_temperature (`float`): softens the teacher's answers and the student's beside them.
        importance_weight (`float`): weight of the learned importance's loss, a mean over layers.
        importance_learning_rate (`float`): peak learning rate of the scorers, which start from zero while the encoder is
            pretrained; on the same schedule.
    """

    length_drop: bool = field(default=True, metadata={"help": "Train at sampled length configurations."})
    importance: str = field(
        default="learned", metadata={"help": "What decides which tokens stay.", "choices": list(IMPORTANCES)}
    )
    num_sandwich: int = field(default=2, metadata={"help": "Sub-models between the full and the smallest."})
    budget_prob: float = field(default=0.0, metadata={"help": "Probability that one of them is one of config.budgets."})
    always_smallest: bool = field(default=True, metadata={"help": "The smallest sub-model in each step (sandwich rule)."})
    length_sampling: str = field(
        default="macs",
        metadata={"help": "How length configurations are drawn.", "choices": list(LENGTH_SAMPLINGS)},
    )
    smallest_macs: float = field(default=0.3, metadata={"help": "Cost of the smallest sub-model (length_sampling macs)."})
    largest_macs: float = field(
        default=1.0, metadata={"help": "Most that a sampled sub-model costs (length_sampling macs)."}
    )
    length_drop_ratio_bound: float = field(default=0.2, metadata={"help": "Most that a layer drops (ratio sampling)."})
    layer_dropout_prob: float = field(default=0.0, metadata={"help": "LayerDrop's probability."})
    divergence_direction: str = field(
        default="forward", metadata={"help": "Direction of the distillation's divergence.", "choices": list(DIRECTIONS)}
    )
    temperature: float = field(default=1.0, metadata={"help": "Temperature of the in-place distillation."})
    prediction_weight: float = field(default=1.0, metadata={"help": "Weight of a teacher's answers, if there are any."})
    hard_label_weight: float = field(default=1.0, metadata={"help": "Weight of the labels."})
    teacher_temperature: float = field(default=1.0, metadata={"help": "Temperature of the teacher's answers."})
    importance_weight: float = field(default=3.0, metadata={"help": "Weight of the learned importance's loss."})
    importance_learning_rate: float = field(default=3e-3, metadata={"help": "Peak learning rate of the scorers."})

    def __post_init__(self):
        super().__post_init__()
        for name, value, low, high, valid in (
            ("num_sandwich", self.num_sandwich, 0, float("inf"), "0 and more"),
            ("budget_prob", self.budget_prob, 0, 1, "numbers in [0, 1]"),
            ("smallest_macs", self.smallest_macs, 1e-6, 1, "numbers in (0, 1]"),
            (
                "largest_macs",
                self.largest_macs,
                self.smallest_macs,
                1,
                f"numbers from smallest_macs ({self.smallest_macs}) to 1",
            ),
            ("length_drop_ratio_bound", self.length_drop_ratio_bound, 0, 1 - 1e-6, "numbers in [0, 1)"),
            ("layer_dropout_prob", self.layer_dropout_prob, 0, 1 - 1e-6, "numbers in [0, 1)"),
            ("temperature", self.temperature, 1e-6, float("inf"), "numbers above 0"),
            ("prediction_weight", self.prediction_weight, 0, float("inf"), "0 and more"),
            ("hard_label_weight", self.hard_label_weight, 0, float("inf"), "0 and more"),
            ("teacher_temperature", self.teacher_temperature, 1e-6, float("inf"), "numbers above 0"),
            ("importance_weight", self.importance_weight, 0, float("inf"), "0 and more"),
            ("importance_learning_rate", self.importance_learning_rate, 0, float("inf"), "0 and more"),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; valid are {valid}.")
        for name, value, valid in (
            ("importance", self.importance, IMPORTANCES),
            ("length_sampling", self.length_sampling, LENGTH_SAMPLINGS),
            ("divergence_direction", self.divergence_direction, DIRECTIONS),
        ):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        if self.length_drop and not self.always_smallest and not self.num_sandwich:
            raise ValueError(
                "always_smallest=False with num_sandwich=0 leaves no sub-model to train; use num_sandwich=1 or more."
            )
