# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Arguments of the trainer, beside `TrainingArguments`."""

import copy
from dataclasses import dataclass, field

from transformers import TrainingArguments

from ..configuration_dynamic_tinybert import IMPORTANCES
from .layer_comparison import RELATIONS


ATTENTION_TARGETS = ("scores", "probabilities")
IMPORTANCE_TARGETS = ("own", "teacher")


@dataclass(frozen=True)
class Preset:
    """Settings that reproduce published code and that no argument reaches.

    Args:
        length_drop_ratio_bound (`float`): each layer drops up to this share of its incoming tokens; without a preset,
            positions and sizes of the drops are drawn evenly over cost.
        divergence_direction (`str`): direction of the in-place distillation, see `divergence`.
    """

    length_drop_ratio_bound: float | None = None
    divergence_direction: str = "forward"


PRESETS = {
    "length-adaptive-transformer": Preset(0.2, "reference"),  # arXiv 2010.07003, as its published code computes it
    "dynamic-tinybert": Preset(0.2),  # arXiv 2111.09645
}


@dataclass
class DistillationArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] and the objective of [`DistillationTrainer`].

    The defaults are those of the recipes: two passes in each step, the full-length one and one smaller sub-network. The
    sandwich rule of arXiv 2010.07003 (`num_sandwich=2`, `always_smallest=True`, `largest_macs=1`) costs about twice as much.

    Args:
        length_drop (`bool`): whether to train at sampled length configurations (LengthDrop, arXiv 2010.07003). `False`
            fine-tunes the model at full length only.
        importance (`str`, *optional*): what decides which tokens stay, see [`DynamicTinyBertConfig`]; `train` sets it on the
            model. `None` keeps the checkpoint's own.
        num_sandwich (`int`): sub-networks of a step between the full-length pass and the smallest.
        budget_prob (`float`): probability that such a sub-network is one of the model's own `config.budgets` and not a
            sampled one. Budgets that will serve most should be trained most.
        always_smallest (`bool`): whether each step also trains the smallest sub-network (sandwich rule).
        smallest_macs (`float`): cost of the smallest sub-network, as a share of the full model's operations.
        largest_macs (`float`): largest cost of a sampled sub-network, as a share of the full model's operations.
        layer_dropout_prob (`float`): probability of LayerDrop, in all passes, the full-length one included.
        preset (`str`, *optional*): reproduces the sampling and the divergence of a paper's published code:
            `length-adaptive-transformer` or `dynamic-tinybert`.
        temperature (`float`): temperature of the in-place distillation.
        prediction_weight (`float`): weight of a teacher's answers: those in the features (see `teacher_predictions` and
            `teacher_logits`), else those that `teacher=` gives for each batch.
        hard_label_weight (`float`): weight of the labels. 0 learns from the teacher alone, as TinyBERT does (arXiv
            1909.10351); above 0 learns from both, as Simplified TinyBERT does (2009.07531).
        teacher_temperature (`float`): temperature of a teacher's answers. `teacher_predictions(temperature=...)` must have
            been called with the same value.
        hidden_weight, embedding_weight, attention_weight (`float`): weights of TinyBERT's terms between the layers of a
            teacher and the student's full-length pass (arXiv 1909.10351, equations 7 to 9); they need `teacher`.
        layer_map (`list[str]`): `uniform`, `last`, or one layer of the teacher for each layer of the student.
        attention_target (`str`): compare attention `scores` (TinyBERT) or `probabilities` (Dynamic-TinyBERT, 2111.09645).
        relation_weight (`float`): weight of MiniLM's terms between the last layer of the student and `relation_layer`.
        relations (`list[str]`): `query`, `key`, `value` (MiniLMv2, 2012.15828), or `attention` and `value` (MiniLM,
            2002.10957).
        relation_heads (`int`): parts that queries, keys and values are split into; 0: the student's attention heads.
        relation_layer (`int`): layer of the teacher, counted from 1; 0: its last.
        importance_target (`str`): what learned importance is trained on: the full-length pass's `own` answers, or the
            `teacher`'s (question answering only).
        importance_weight (`float`): weight of the loss of learned importance, a mean over layers.
        importance_learning_rate (`float`): peak learning rate of the scorers, which start from zero while the encoder is
            pretrained; on the same schedule.
        float32_weights (`bool`): train weights that are stored in 16 bits in float32, the teacher's included. `False` keeps
            their type, which loses small updates; for mixed precision use `bf16=True`.
        eval_budgets (`list[str]`, *optional*): budgets of the model at which each evaluation also measures, as
            `eval_{budget}_loss` and so on; usable as `metric_for_best_model`.
        early_stopping_patience (`int`, *optional*): evaluations without improvement of `metric_for_best_model` after which
            training stops; needs `load_best_model_at_end`.
        overwrite_output_dir (`bool`): recipes only: start anew in a folder that holds another run.
    """

    length_drop: bool = field(default=True, metadata={"help": "Train at sampled length configurations."})
    importance: str | None = field(
        default=None,
        metadata={"help": "What decides which tokens stay; none: the checkpoint's.", "choices": list(IMPORTANCES)},
    )
    num_sandwich: int = field(  # one: every pass costs a full step's time on CPUs
        default=1, metadata={"help": "Sub-networks between the full-length pass and the smallest."}
    )
    budget_prob: float = field(default=0.0, metadata={"help": "Probability that one of them is one of config.budgets."})
    always_smallest: bool = field(  # False: with one sampled sub-network a step costs 7.6, not 13.4 CPU seconds
        default=False, metadata={"help": "Train the smallest sub-network in each step (sandwich rule)."}
    )
    smallest_macs: float = field(default=0.3, metadata={"help": "Cost of the smallest sub-network, share of the full one."})
    largest_macs: float = field(  # 0.7: above, a budget saves too little to be used
        default=0.7, metadata={"help": "Largest cost of a sampled sub-network, share of the full one."}
    )
    layer_dropout_prob: float = field(default=0.0, metadata={"help": "Probability of LayerDrop."})
    preset: str | None = field(
        default=None, metadata={"help": "Sampling of a paper's published code.", "choices": list(PRESETS)}
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
    relation_layer: int = field(default=0, metadata={"help": "The teacher's layer, counted from 1; 0: its last."})
    importance_target: str = field(
        default="own",
        metadata={"help": "Whose answers learned importance is trained on.", "choices": list(IMPORTANCE_TARGETS)},
    )
    importance_weight: float = field(default=3.0, metadata={"help": "Weight of the loss of learned importance."})
    importance_learning_rate: float = field(default=3e-3, metadata={"help": "Peak learning rate of the scorers."})
    float32_weights: bool = field(default=True, metadata={"help": "Train 16-bit weights in float32."})
    eval_budgets: list[str] | None = field(default=None, metadata={"help": "Budgets that each evaluation measures too."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Evaluations without improvement after which training stops."}
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Start anew in a folder that holds another run."})

    def __post_init__(self):
        self._refuse_sharding()
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = True  # LayerDrop and terms of some layers leave parameters without gradient
        super().__post_init__()
        self._check_numbers()
        self._check_choices()
        self._check_combinations()

    @property
    def length_drop_ratio_bound(self) -> float | None:
        """Largest share of its incoming tokens that a layer drops, where a preset draws drops by layer."""
        return PRESETS[self.preset].length_drop_ratio_bound if self.preset else None

    @property
    def divergence_direction(self) -> str:
        """Direction of the in-place distillation."""
        return PRESETS[self.preset].divergence_direction if self.preset else "forward"

    def _refuse_sharding(self) -> None:
        for name in ("fsdp", "deepspeed"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} splits the weights over processes, which this objective does not support. Leave {name} out: "
                    "torchrun --nproc_per_node=N trains on several processes with DistributedDataParallel."
                )

    def _check_numbers(self) -> None:
        positive, weights = (1e-6, float("inf"), "numbers above 0"), (0, float("inf"), "0 and more")
        probabilities = (0, 1 - 1e-6, "numbers in [0, 1)")
        largest = (self.smallest_macs, 1, f"numbers from smallest_macs ({self.smallest_macs}) to 1")
        for name, (low, high, valid) in {
            "num_sandwich": weights,
            "budget_prob": (0, 1, "numbers in [0, 1]"),
            "smallest_macs": (1e-6, 1, "numbers in (0, 1]"),
            "largest_macs": largest,
            "layer_dropout_prob": probabilities,
            "temperature": positive,
            "prediction_weight": weights,
            "hard_label_weight": weights,
            "teacher_temperature": positive,
            "hidden_weight": weights,
            "embedding_weight": weights,
            "attention_weight": weights,
            "relation_weight": weights,
            "relation_heads": weights,
            "relation_layer": weights,
            "importance_weight": weights,
            "importance_learning_rate": weights,
        }.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; valid are {valid}.")

    def _check_choices(self) -> None:
        for name, value, valid in (
            ("importance", self.importance, (None, *IMPORTANCES)),
            ("preset", self.preset, (None, *PRESETS)),
            ("attention_target", self.attention_target, ATTENTION_TARGETS),
            ("importance_target", self.importance_target, IMPORTANCE_TARGETS),
            *(("relations", name, RELATIONS) for name in self.relations),
        ):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        self.layer_map = [str(layer) for layer in self.layer_map]  # YAML reads numbers
        if len(self.layer_map) > 1 and not all(layer.isdigit() for layer in self.layer_map):
            raise ValueError(f"layer_map is {self.layer_map}; valid are one name, such as uniform, or numbers of layers.")
        if self.relation_weight and not self.relations:
            raise ValueError(f"relations is empty; valid are some of {', '.join(RELATIONS)}, or relation_weight=0.")

    def _check_combinations(self) -> None:
        if self.learns_layers and self.layer_dropout_prob:
            raise ValueError(
                f"layer_dropout_prob is {self.layer_dropout_prob}: a layer that is left out cannot be compared with a "
                "teacher's. Use layer_dropout_prob=0, or the weights of hidden, embedding, attention and relation 0."
            )
        if self.layer_dropout_prob and not self.length_drop:
            raise ValueError(
                f"layer_dropout_prob is {self.layer_dropout_prob}: layers are left out in LengthDrop's passes; use "
                "length_drop=True, or layer_dropout_prob=0."
            )
        if self.length_drop and not self.always_smallest and not self.num_sandwich:
            raise ValueError(
                "always_smallest=False with num_sandwich=0 leaves no sub-network to train; use num_sandwich=1 or more."
            )
        if self.early_stopping_patience is not None and not (
            self.early_stopping_patience > 0 and self.load_best_model_at_end
        ):
            raise ValueError(
                f"early_stopping_patience is {self.early_stopping_patience}; valid are 1 and more, together with "
                "load_best_model_at_end=True and an eval_strategy."
            )
        if self.gradient_checkpointing:
            given = self.gradient_checkpointing_kwargs or {}
            if given.get("use_reentrant"):
                raise ValueError(
                    "use_reentrant=True hides the layers from the objective, which would then train nothing of them. Use "
                    'gradient_checkpointing_kwargs={"use_reentrant": False}, or leave gradient_checkpointing_kwargs out.'
                )
            self.gradient_checkpointing_kwargs = given | {"use_reentrant": False}

    def __getstate__(self) -> dict:
        """Leaves the token out: checkpoints keep the arguments and may be published."""
        return self.__dict__ | {"hub_token": None}

    def __deepcopy__(self, memo) -> "DistillationArguments":
        copied = object.__new__(type(self))
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    @property
    def learns_layers(self) -> bool:
        """Whether terms compare layers, which needs a teacher."""
        return any((self.hidden_weight, self.embedding_weight, self.attention_weight, self.relation_weight))

    @property
    def learns_answers(self) -> bool:
        """Whether a teacher's answers are used, if there is a teacher."""
        return bool(self.prediction_weight) or (self.length_drop and self.importance_target == "teacher")
