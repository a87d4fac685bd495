# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What the trainer can be told, beside `TrainingArguments`."""

import copy
from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..configuration_dynamic_tinybert import IMPORTANCES
from .layer_distillation import RELATIONS
from .losses import DIRECTIONS


ATTENTION_TARGETS = ("scores", "probabilities")
IMPORTANCE_TARGETS = ("own", "teacher")
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
        teacher_temperature (`float`): softens the student's answers beside a teacher's. A classifying teacher's logits are
            softened with them; distributions over tokens are so already, see `teacher_predictions(temperature=...)`.
        hidden_weight, embedding_weight, attention_weight (`float`): weights of TinyBERT's terms between the layers of a
            teacher and the student's full pass (arXiv 1909.10351, equations 7 to 9); they need `teacher`.
        layer_map (`list[str]`): `uniform`, `last`, or the teacher's layers themselves, one for each layer of the student.
        attention_target (`str`): compare attention's `scores` (TinyBERT) or `probabilities` (Dynamic-TinyBERT, 2111.09645).
        relation_weight (`float`): weight of MiniLM's terms between the last layer of the student and `relation_layer`.
        relations (`list[str]`): `query`, `key`, `value` (MiniLMv2, 2012.15828), or `attention` and `value` (MiniLM,
            2002.10957).
        relation_heads (`int`): parts that queries, keys and values are cut into; 0: the student's attention heads.
        relation_layer (`int`): the teacher's layer, from 1; 0: its last.
        importance_target (`str`): what learned importance is trained on: the full model's `own` answers, or the `teacher`'s
            (questions only), where the features have them.
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
    hidden_weight: float = field(default=0.0, metadata={"help": "Weight of the hidden states' error (TinyBERT)."})
    embedding_weight: float = field(default=0.0, metadata={"help": "Weight of the embeddings' error (TinyBERT)."})
    attention_weight: float = field(default=0.0, metadata={"help": "Weight of the attention's error (TinyBERT)."})
    layer_map: list[str] = field(default_factory=lambda: ["uniform"], metadata={"help": "uniform, last, or layers."})
    attention_target: str = field(
        default="scores", metadata={"help": "What of the attention is compared.", "choices": list(ATTENTION_TARGETS)}
    )
    relation_weight: float = field(default=0.0, metadata={"help": "Weight of the relations' divergence (MiniLM)."})
    relations: list[str] = field(
        default_factory=lambda: ["query", "key", "value"], metadata={"help": f"Some of {', '.join(RELATIONS)}."}
    )
    relation_heads: int = field(default=0, metadata={"help": "Relation heads; 0: the student's attention heads."})
    relation_layer: int = field(default=0, metadata={"help": "The teacher's layer, from 1; 0: its last."})
    importance_target: str = field(
        default="own",
        metadata={"help": "Whose answers learned importance is trained on.", "choices": list(IMPORTANCE_TARGETS)},
    )
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
            ("hidden_weight", self.hidden_weight, 0, float("inf"), "0 and more"),
            ("embedding_weight", self.embedding_weight, 0, float("inf"), "0 and more"),
            ("attention_weight", self.attention_weight, 0, float("inf"), "0 and more"),
            ("relation_weight", self.relation_weight, 0, float("inf"), "0 and more"),
            ("relation_heads", self.relation_heads, 0, float("inf"), "0 and more"),
            ("relation_layer", self.relation_layer, 0, float("inf"), "0 and more"),
            ("importance_weight", self.importance_weight, 0, float("inf"), "0 and more"),
            ("importance_learning_rate", self.importance_learning_rate, 0, float("inf"), "0 and more"),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; valid are {valid}.")
        for name, value, valid in (
            ("importance", self.importance, IMPORTANCES),
            ("length_sampling", self.length_sampling, LENGTH_SAMPLINGS),
            ("divergence_direction", self.divergence_direction, DIRECTIONS),
            ("attention_target", self.attention_target, ATTENTION_TARGETS),
            ("importance_target", self.importance_target, IMPORTANCE_TARGETS),
            *(("relations", name, RELATIONS) for name in self.relations),
        ):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        self.layer_map = [str(layer) for layer in self.layer_map]  # YAML has numbers
        if self.learns_layers and self.layer_dropout_prob:
            raise ValueError(
                f"layer_dropout_prob is {self.layer_dropout_prob}: a layer that is left out has nothing to compare with a "
                "teacher's. Use layer_dropout_prob=0, or the weights of hidden, embedding, attention and relation 0."
            )
        if self.relation_weight and not self.relations:
            raise ValueError(f"relations is empty; valid are some of {', '.join(RELATIONS)}, or relation_weight=0.")
        if len(self.layer_map) > 1 and not all(layer.isdigit() for layer in self.layer_map):
            raise ValueError(f"layer_map is {self.layer_map}; valid are one name, such as uniform, or numbers of layers.")
        if self.layer_dropout_prob and not self.length_drop:
            raise ValueError(
                f"layer_dropout_prob is {self.layer_dropout_prob}: layers are left out in LengthDrop's passes; use "
                "length_drop=True, or layer_dropout_prob=0."
            )
        if self.length_drop and not self.always_smallest and not self.num_sandwich:
            raise ValueError(
                "always_smallest=False with num_sandwich=0 leaves no sub-model to train; use num_sandwich=1 or more."
            )

    def __getstate__(self) -> dict:
        """Checkpoints keep the arguments and may be published; a token is nobody's business."""
        return self.__dict__ | {"hub_token": None}

    def __deepcopy__(self, memo) -> "DistillationArguments":
        copied = object.__new__(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    @property
    def learns_layers(self) -> bool:
        """Whether a teacher's layers are learned from, and so a teacher has to be there."""
        return any((self.hidden_weight, self.embedding_weight, self.attention_weight, self.relation_weight))

    @property
    def learns_importance(self) -> bool:
        """Whether learned importance is trained on a teacher's answers."""
        return self.length_drop and self.importance == "learned" and self.importance_target == "teacher"

    @property
    def learns_answers(self) -> bool:
        """Whether a teacher's answers are of use, if there is a teacher."""
        return bool(self.prediction_weight) or self.learns_importance
