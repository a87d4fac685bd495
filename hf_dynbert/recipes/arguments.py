# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a recipe says of its model and of its data; how it trains is in `DistillationArguments`."""

from dataclasses import dataclass, field
from typing import Literal

from ..utils.defaults import STRIDE


TASKS = ("question-answering", "text-classification", "plain-text")


@dataclass
class ModelArguments:
    """The model that a recipe starts from.

    Args:
        model_name_or_path (`str`): folder or Hub id of a BERT, RoBERTa, DistilBERT or DynamicTinyBert checkpoint.
        layers (`list[int]`): take these layers of it alone, counted from 0; see `from_backbone`.
        freeze_layers (`int`): so many of the lowest layers, and the embeddings, stay as they are: less to compute.
        config_overrides (`str`): fields of its configuration to change, as JSON; the model then starts from nothing, in any
            shape, for example `{"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200}`.
        length_adaptive (`bool`): whether it becomes a DynamicTinyBert; `False` fine-tunes a model of any architecture that
            transformers knows for the task as what it is, for example a teacher (with `length_drop=False`).
        teacher_model_name_or_path (`str`): folder or Hub id of a model for the same task, of any architecture and with any
            tokenizer, whose answers are learned too (see `teacher_predictions` and `teacher_logits`), or whose layers.
        teacher_dtype (`str`): of its weights while it answers; bfloat16 halves the time on CPUs that multiply it fast.
        teacher_class_names (`list[str]`): names of a classifying teacher's labels in its order, where its own configuration
            says only LABEL_0 and so on.
        protect_first_segment, protect_first_segment_until, dropped_logits, early_selection_until, importance_match,
            importance_match_until, importance_windows, drop_layers, budgets: see [`DynamicTinyBertConfig`]; budgets as JSON.
        hidden_dropout_prob, attention_probs_dropout_prob (`float`): as in training; unset, the checkpoint's own.
        attn_implementation (`str`): attention in training; eager is the faster one on CPUs when gradients are needed.
    """

    model_name_or_path: str = field(metadata={"help": "Folder or Hub id to start from."})
    layers: list[int] | None = field(default=None, metadata={"help": "Take these layers alone, from 0."})
    freeze_layers: int = field(default=0, metadata={"help": "So many of the lowest layers stay as they are."})
    config_overrides: str | None = field(default=None, metadata={"help": "Configuration of a model from nothing, JSON."})
    length_adaptive: bool = field(default=True, metadata={"help": "Make a DynamicTinyBert of it; false: as it is."})
    teacher_model_name_or_path: str | None = field(default=None, metadata={"help": "Folder or Hub id of a teacher."})
    teacher_dtype: Literal["float32", "bfloat16"] = field(default="float32", metadata={"help": "Of the teacher's weights."})
    teacher_class_names: list[str] | None = field(default=None, metadata={"help": "The teacher's labels in its order."})
    protect_first_segment: bool = field(default=True, metadata={"help": "Drop the question last."})
    protect_first_segment_until: int | None = field(default=None, metadata={"help": "Layers that do; none: all."})
    dropped_logits: str = field(default="restore", metadata={"help": "What a dropped token answers: restore or mask."})
    early_selection_until: int | None = field(default=None, metadata={"help": "Layers that choose before attention."})
    importance_match: int | None = field(default=None, metadata={"help": "Dimensions of the match with the question."})
    importance_match_until: int | None = field(default=None, metadata={"help": "Layers that match; none: all."})
    importance_windows: list[int] | None = field(
        default=None, metadata={"help": "Tokens on each side searched for matches."}
    )
    drop_layers: list[int] | None = field(default=None, metadata={"help": "Layers that may drop, from 0; none: all."})
    budgets: str | None = field(default=None, metadata={"help": "Named length configurations, JSON."})
    hidden_dropout_prob: float | None = field(default=None, metadata={"help": "Dropout in training."})
    attention_probs_dropout_prob: float | None = field(default=None, metadata={"help": "Attention dropout in training."})
    attn_implementation: str | None = field(default=None, metadata={"help": "Attention kernel in training."})


@dataclass
class DataArguments:
    """The data that a recipe trains on.

    Args:
        task (`str`): `question-answering`; `text-classification`, of texts or of pairs; or `plain-text`, general
            distillation from a teacher's layers without labels.
        train_file (`list[str]`): files: SQuAD's for questions; `.json`, `.jsonl`, `.csv` with `text_columns` (and `label`),
            or `.txt` with a text a line, for texts. Unset, `dataset_name` is used.
        dataset_name, dataset_config_name (`str`): data set on the Hub; for questions `rajpurkar/squad` when not given.
        streaming (`bool`): read plain text while training (with `max_steps`), for what is too large to be kept.
        text_columns (`list[str]`): of a text, or of a pair of texts.
        class_names (`list[str]`): names of labels that the data has only numbers of.
        max_train_samples (`int`): use so many rows, spread over the data.
        held_out (`float`): part of the questions, whole articles, that training does not see.
        max_length, stride (`int`): of questions' windows, see `encode_windows`; texts end at `max_length`, plain text is
            cut into pieces of it. When `max_length` is not given, 384 for questions and 128 for texts.
        augmentation_model_name_or_path (`str`): a masked language model that writes questions, or texts, anew before
            training, see `WordSubstitution`.
        augmentation_copies (`int`): how many times each.
        teacher_cache_dir (`str`): where a teacher's answers are kept for the next student; with the other caches of
            `datasets` when not given.
    """

    train_file: list[str] | None = field(default=None, metadata={"help": "Files to train on."})
    task: str = field(default="question-answering", metadata={"help": "What is trained.", "choices": list(TASKS)})
    dataset_name: str | None = field(default=None, metadata={"help": "Data set on the Hub."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its configuration."})
    streaming: bool = field(default=False, metadata={"help": "Read plain text while training."})
    text_columns: list[str] = field(
        default_factory=lambda: ["text"], metadata={"help": "Columns of a text, or of a pair of texts."}
    )
    class_names: list[str] | None = field(default=None, metadata={"help": "Names of labels that are only numbers."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many rows."})
    held_out: float = field(default=0.0, metadata={"help": "Part of the questions to hold out, by article."})
    max_length: int | None = field(default=None, metadata={"help": "Tokens of a window, or of a text."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    augmentation_model_name_or_path: str | None = field(default=None, metadata={"help": "Masked language model."})
    augmentation_copies: int = field(default=20, metadata={"help": "New texts for each (TinyBERT's N)."})
    teacher_cache_dir: str | None = field(default=None, metadata={"help": "Where a teacher's answers are kept."})

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}; valid are {', '.join(map(repr, TASKS))}.")
        if self.task != "question-answering":
            if self.held_out:
                raise ValueError(f"held_out={self.held_out} holds out articles of questions; texts have none, use 0.")
            if not (self.train_file or self.dataset_name):
                raise ValueError(f"task {self.task} needs texts: give train_file or dataset_name.")
        if len(self.text_columns) not in (1, 2) or (self.task == "plain-text" and len(self.text_columns) != 1):
            raise ValueError(
                f"text_columns is {self.text_columns}; valid are one column, and two that make a pair to classify."
            )
        if self.augmentation_model_name_or_path and self.task == "plain-text":
            raise ValueError("Plain text needs no augmentation: give more of it. Unset augmentation_model_name_or_path.")
        if self.streaming and self.task != "plain-text":
            raise ValueError(f"streaming=True reads plain text; task {self.task} is kept whole, use streaming=False.")
