# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Arguments of the trainer that `TrainingArguments` does not have."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from accelerate.utils import DynamoBackend, parse_flag_from_env
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.utils import is_liger_kernel_available

from ..configuration_dynamic_tinybert import IMPORTANCES
from ..utils.errors import check_choice, check_number, reading, refuse_without_effect


AttentionTarget = Literal["scores", "probabilities"]
ImportanceTarget = Literal["own", "teacher"]
Preset = Literal["length-adaptive-transformer", "dynamic-tinybert"]
RankingLoss = Literal["margin_mse", "kl_div"]  # sentence-transformers' MarginMSELoss and DistillKLDivLoss
# Numbers of TrainingArguments that it does not check; transformers 5.24 has no warmup_ratio any more
FROM_ZERO = ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "num_train_epochs", "warmup_steps")
FROM_ZERO += ("warmup_ratio", "dataloader_num_workers", "neftune_noise_alpha", "eval_delay")
FROM_ZERO += ("logging_steps", "eval_steps", "save_steps")
OF_LENGTH_DROP = """temperature num_sandwich always_smallest smallest_macs largest_macs budget_prob preset
importance_target importance_weight""".split()
RELATIONS = ("query", "key", "value", "attention")


@dataclass
class DistillationArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] and the objective of [`DistillationTrainer`].

    The defaults are those of the recipes: two passes in each step, the full-length one and one smaller sub-network. The
    sandwich rule of arXiv 2010.07003 (`num_sandwich=2`, `always_smallest=True`, `largest_macs=1`) costs about twice as much.

    Args:
        length_drop (`bool`): Train at sampled length configurations (LengthDrop, arXiv 2010.07003), not at full length only.
        importance (`str`, *optional*): Importance that selects the tokens (`config.importance`); by default the model's own.
        num_sandwich (`int`): Sub-networks of a step between the full-length pass and the smallest.
        budget_prob (`float`): Probability that one of `config.budgets` replaces a sampled sub-network.
        always_smallest (`bool`): Train the smallest sub-network in each step too (sandwich rule).
        smallest_macs (`float`): Least cost of a sampled sub-network, as a share of the full model's operations.
        largest_macs (`float`): Largest cost of a sampled sub-network, as a share of the full model's operations.
        layer_dropout_prob (`float`): Probability that a layer is left out (LayerDrop), in all passes, also at full length.
        preset (`str`, *optional*): Sampling and divergence of a paper's published code.
        temperature (`float`): Temperature of the in-place distillation.
        prediction_weight (`float`): Weight of a teacher's answers, from the features or else from `teacher=`.
        ranking_loss (`str`, *optional*): Loss of a query's passages together (task reranking): `margin_mse` or `kl_div`.
        hard_label_weight (`float`): Weight of the labels; 0 trains on a teacher alone (TinyBERT, arXiv 1909.10351).
        teacher_temperature (`float`): Temperature of a teacher's answers, as given to `teacher_predictions`.
        hidden_weight (`float`): Weight of the error of hidden states (TinyBERT, arXiv 1909.10351, equation 8).
        embedding_weight (`float`): Weight of the error of the embeddings (TinyBERT, equation 9).
        attention_weight (`float`): Weight of the error of the attention (TinyBERT, equation 7).
        layer_map (`list[str]`): `uniform`, `last`, or one layer of the teacher for each layer of the student.
        attention_target (`str`): Compare attention `scores` (TinyBERT) or `probabilities` (Dynamic-TinyBERT, 2111.09645).
        relation_weight (`float`): Weight of MiniLM's terms between the last layer of the student and `relation_layer`.
        relations (`list[str]`): `query key value` (MiniLMv2, 2012.15828), or `attention value` (MiniLM, 2002.10957).
        relation_heads (`int`): Parts that queries, keys and values are split into; 0 is the student's attention heads.
        relation_layer (`int`): Layer of the teacher, counted from 1; 0 is its last.
        importance_target (`str`): Answers that train learned importance: the student's `own` or the `teacher`'s (spans).
        importance_weight (`float`): Weight of the loss of learned importance, a mean over layers.
        importance_learning_rate (`float`): Peak learning rate of the scorers, which start untrained.
        float32_weights (`bool`): Convert 16-bit weights of student and teacher to float32. `False` keeps their type, which
            loses small updates; for mixed precision use `bf16=True`.
        eval_budgets (`list[str]`, *optional*): Budgets that each evaluation also measures, as `eval_{budget}_loss`, ...
        early_stopping_patience (`int`, *optional*): Evaluations without improvement after which training stops.
        overwrite_output_dir (`bool`): Start anew in a folder that contains another run (recipes only).
    """

    length_drop: bool = True
    importance: str | None = field(default=None, metadata={"choices": list(IMPORTANCES)})
    num_sandwich: int = 1  # on CPUs every pass costs a full step's time
    budget_prob: float = 0.0
    always_smallest: bool = False  # `True` makes a step take 13.4 instead of 7.6 CPU seconds
    smallest_macs: float = 0.3
    largest_macs: float = 0.7  # larger sub-networks save too little time to be used
    layer_dropout_prob: float = 0.0
    preset: Preset | None = None
    temperature: float = 1.0
    prediction_weight: float = 1.0
    ranking_loss: RankingLoss | None = None
    hard_label_weight: float = 1.0
    teacher_temperature: float = 1.0
    hidden_weight: float = 0.0
    embedding_weight: float = 0.0
    attention_weight: float = 0.0
    layer_map: list[str] = field(default_factory=lambda: ["uniform"])
    attention_target: AttentionTarget = "scores"
    relation_weight: float = 0.0
    relations: list[str] = field(default_factory=lambda: ["query", "key", "value"])
    relation_heads: int = 0
    relation_layer: int = 0
    importance_target: ImportanceTarget = "own"
    importance_weight: float = 3.0
    importance_learning_rate: float = 3e-3
    float32_weights: bool = True
    eval_budgets: list[str] | None = None
    early_stopping_patience: int | None = None
    overwrite_output_dir: bool = False

    def __post_init__(self):
        for name in ("fsdp", "deepspeed", "parallelism_config"):
            if getattr(self, name) or parse_flag_from_env(f"ACCELERATE_USE_{name.upper()}"):
                raise ValueError(
                    f"{name} splits the weights over processes, which this objective does not support. Leave {name} out and "
                    "start with torchrun --nproc_per_node=N, or choose MULTI_GPU in accelerate config."
                )
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = True  # LayerDrop and terms of some layers leave parameters without gradient
        self._check_values()
        with reading("An option of transformers.TrainingArguments"):
            super().__post_init__()
        self._check_combinations()
        self._check_libraries()

    @property
    def learns_layers(self) -> bool:
        """Whether terms compare layers, which needs a teacher."""
        return any((self.hidden_weight, self.embedding_weight, self.attention_weight, self.relation_weight))

    @property
    def learns_answers(self) -> bool:
        """Whether a teacher's answers are used, if there is a teacher."""
        return bool(self.prediction_weight) or (self.length_drop and self.importance_target == "teacher")

    def _check_values(self) -> None:
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            check_number(name, getattr(self, name), 1, whole=True)
        for name in FROM_ZERO:
            if getattr(self, name, None) is not None:
                check_number(name, getattr(self, name), 0)
        for name in ("adam_beta1", "adam_beta2"):
            check_number(name, getattr(self, name), 0, below=1)
        for name in ("temperature", "teacher_temperature"):
            check_number(name, getattr(self, name), above=0)
        for name in ("num_sandwich", "relation_heads", "relation_layer"):
            check_number(name, getattr(self, name), 0, whole=True)
        for name in ("prediction", "hard_label", "hidden", "embedding", "attention", "relation", "importance"):
            check_number(f"{name}_weight", getattr(self, f"{name}_weight"), 0)
        check_number("importance_learning_rate", self.importance_learning_rate, 0)
        check_number("budget_prob", self.budget_prob, 0, 1)
        check_number("layer_dropout_prob", self.layer_dropout_prob, 0, below=1)
        check_number("smallest_macs", self.smallest_macs, above=0, most=1)
        check_number("largest_macs", self.largest_macs, self.smallest_macs, 1)
        check_choice("importance", self.importance, (None, *IMPORTANCES))
        check_choice("preset", self.preset, (None, *get_args(Preset)))
        check_choice("ranking_loss", self.ranking_loss, (None, *get_args(RankingLoss)))
        check_choice("attention_target", self.attention_target, get_args(AttentionTarget))
        check_choice("importance_target", self.importance_target, get_args(ImportanceTarget))
        for relation in self.relations or [None]:
            check_choice("relations", relation, RELATIONS)

    def _check_combinations(self) -> None:
        if self.layer_dropout_prob and (self.learns_layers or not self.length_drop):
            raise ValueError(
                f"layer_dropout_prob is {self.layer_dropout_prob}: layers are left out in LengthDrop's passes, and cannot "
                "be compared with a teacher's. Use layer_dropout_prob=0, or length_drop=True without terms between layers."
            )
        if not self.length_drop:
            refuse_without_effect(self, OF_LENGTH_DROP, "with length_drop=False")
        if not self.attention_weight:
            refuse_without_effect(self, ["attention_target"], "without attention_weight")
        if not self.hidden_weight and not self.attention_weight:
            refuse_without_effect(self, ["layer_map"], "without hidden_weight or attention_weight")
        if not self.relation_weight:
            refuse_without_effect(self, ["relations", "relation_heads", "relation_layer"], "without relation_weight")
        if self.length_drop and not self.always_smallest and not self.num_sandwich:
            raise ValueError("num_sandwich=0 and always_smallest=False train no sub-network; use num_sandwich=1 or more.")
        patience = self.early_stopping_patience
        if patience is not None and not (patience > 0 and self.load_best_model_at_end):
            raise ValueError(
                f"early_stopping_patience is {patience}; valid are 1 and more, with load_best_model_at_end=True."
            )
        if self.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor is {self.label_smoothing_factor}, which does not apply to this objective; leave it "
                "out, or use transformers' Trainer."
            )
        if self.save_strategy == "best" and self.metric_for_best_model is None:
            raise ValueError("save_strategy is best, which needs metric_for_best_model, for example eval_loss.")
        if not isinstance(self.gradient_checkpointing_kwargs, dict | None):
            raise ValueError(
                f"gradient_checkpointing_kwargs is {self.gradient_checkpointing_kwargs!r:.60}; valid is a JSON object, for "
                'example {"use_reentrant": false}.'
            )
        if self.gradient_checkpointing and self.gradient_checkpointing_kwargs:
            if self.gradient_checkpointing_kwargs.get("use_reentrant"):
                raise ValueError(
                    "use_reentrant=True hides the layers from the objective, so that it would not train them. Use "
                    'gradient_checkpointing_kwargs={"use_reentrant": False}, or leave gradient_checkpointing_kwargs out.'
                )
            self.gradient_checkpointing_kwargs["use_reentrant"] = False  # the default of transformers, but not of torch

    def _check_libraries(self) -> None:
        """Makes the optimizer, the schedule and the compiler once without a model, since a Trainer makes them last."""
        if self.use_liger_kernel and not is_liger_kernel_available():
            raise ImportError("use_liger_kernel needs the package liger-kernel: pip install liger-kernel")
        with reading("optim or optim_args"):
            optimizer_class, options = Trainer.get_optimizer_cls_and_kwargs(self)
            if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)):
                return  # of a library that needs the model
            optimizer = optimizer_class([torch.nn.Parameter(torch.zeros(1))], **options)
        with reading("lr_scheduler_type or lr_scheduler_kwargs"):
            get_scheduler(self.lr_scheduler_type, optimizer, 1, 2, self.lr_scheduler_kwargs)
        if self.torch_compile:
            backends = [name.lower() for name in DynamoBackend.list()]
            check_choice("torch_compile_backend", self.torch_compile_backend.lower(), backends)
            with reading("torch_compile_mode"):
                torch.compile(torch.nn.Identity(), backend=self.torch_compile_backend, mode=self.torch_compile_mode)

    def __getstate__(self) -> dict:
        """Leaves the token out: checkpoints keep the arguments and may be published."""
        return self.__dict__ | {"hub_token": None}
