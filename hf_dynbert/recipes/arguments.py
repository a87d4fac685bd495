# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Arguments of a recipe: its model and its data. The arguments of the training are in `DistillationArguments`."""

from dataclasses import dataclass, field
from typing import Literal

from ..utils.defaults import STRIDE
from ..utils.errors import check_number, read_json_option


@dataclass
class ModelArguments:
    """The model that a recipe starts from.

    Args:
        model_name_or_path (`str`): folder or Hub id of a BERT, RoBERTa, DistilBERT or DynamicTinyBert checkpoint.
        layers (`list[int]`): take only these layers of the checkpoint, counted from 0; see `from_backbone`.
        freeze_layers (`int`): number of the lowest layers that are not trained; the embeddings are not trained either.
        config_overrides (`str`): fields of its configuration to change, as JSON; the model then starts from random weights,
            for example `{"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200}`.
        length_adaptive (`bool`): whether the model becomes a DynamicTinyBert; `False` fine-tunes a model of any architecture
            of transformers unchanged, for example a teacher (with `length_drop=False`).
        teacher_model_name_or_path (`str`): folder or Hub id of a teacher for the same task, of any architecture and with any
            tokenizer. The student learns its answers (see `teacher_predictions` and `teacher_logits`), its layers, or both.
        teacher_dtype (`str`): type of the teacher's weights; bfloat16 halves the time on CPUs with fast bfloat16 kernels.
        teacher_class_names (`list[str]`): names of a classifying teacher's labels in its order, if its configuration has
            only LABEL_0 and so on.
        protect_first_segment (`bool`): whether tokens of the first segment are dropped last. The default of this option and
            of the next nine is the checkpoint's own value, see [`DynamicTinyBertConfig`].
        protect_first_segment_until (`int`): number of leading layers that do so.
        dropped_logits (`str`): logits of dropped tokens: `restore` or `mask`.
        early_selection_until (`int`): number of leading layers that select tokens before attention.
        importance_match (`int`): dimensions in which learned importance matches tokens with the first segment.
        importance_match_until (`int`): number of leading layers that match.
        importance_windows (`list[int]`): tokens on each side in which a match is searched.
        drop_layers (`list[int]`): layers that may drop tokens, from 0.
        min_tokens_to_drop (`int`): fewest tokens of an example that drops tokens, outside of training.
        budgets (`str`): budgets by name, as JSON.
        hidden_dropout_prob, attention_probs_dropout_prob (`float`): dropout in training; by default the checkpoint's own.
        attn_implementation (`str`): attention kernel in training, see [`~transformers.PreTrainedModel`].
    """

    model_name_or_path: str
    layers: list[int] | None = None
    freeze_layers: int = 0
    config_overrides: str | None = None
    length_adaptive: bool = True
    teacher_model_name_or_path: str | None = None
    teacher_dtype: Literal["float32", "bfloat16"] = "float32"
    teacher_class_names: list[str] | None = None
    protect_first_segment: bool | None = None
    protect_first_segment_until: int | None = None
    dropped_logits: str | None = None
    early_selection_until: int | None = None
    importance_match: int | None = None
    importance_match_until: int | None = None
    importance_windows: list[int] | None = None
    drop_layers: list[int] | None = None
    min_tokens_to_drop: int | None = None
    budgets: str | None = None
    hidden_dropout_prob: float | None = None
    attention_probs_dropout_prob: float | None = None
    attn_implementation: str | None = None

    def __post_init__(self):
        read_json_option("--budgets", self.budgets, '{"half": [0.8, 0.6, 0.4]}')
        read_json_option("--config_overrides", self.config_overrides, '{"num_hidden_layers": 4}')


@dataclass
class DataArguments:
    """The data that a recipe trains on.

    Args:
        task (`str`): `question-answering`, `text-classification`, `reranking`, or `plain-text`: text without labels, for
            distillation from a teacher's layers.
        train_file (`list[str]`): files of questions or texts: SQuAD's format; or `.json`, `.jsonl` and `.csv` with
            `text_columns` (and `label`), and `.txt` with a text in each line. By default `dataset_name` is used.
        dataset_name, dataset_config_name (`str`): data set on the Hub; for questions `rajpurkar/squad` when not given.
        streaming (`bool`): read plain text while training (with `max_steps`), for data that do not fit on the disk.
        text_columns (`list[str]`): column of a text, or the two columns of a pair.
        label_column (`str`): column of the labels of texts.
        class_names (`list[str]`): names of the labels, for data that have only numbers.
        problem_type (`str`): `regression` makes whole numbers, such as stars, targets of a regression and not classes.
        group_size (`int`): with `ranking_loss`, passages of a query that are compared; a batch has this many times
            `per_device_train_batch_size` passages.
        max_train_samples (`int`): use at most this many rows, spread over the data.
        eval_file (`list[str]`): files of the same kind as `train_file`, measured during training, see `eval_strategy`.
        validation_fraction (`float`): share of the data in the validation split: whole articles of questions, rows of texts.
            Training does not use it. With `eval_strategy` it is measured during training.
        max_length, stride (`int`): size of the windows of questions, see `encode_windows`; texts are truncated to
            `max_length`, and plain text is cut into pieces of it. The default is 384 for questions, 256 for
            reranking, 128 for texts.
        teacher_cache_dir (`str`): folder of the cache of a teacher's answers; the cache folder of `datasets` when not given.
    """

    train_file: list[str] | None = None
    task: str = "question-answering"
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    streaming: bool = False
    text_columns: list[str] = field(default_factory=lambda: ["text"])
    label_column: str = "label"
    class_names: list[str] | None = None
    problem_type: Literal["regression"] | None = None
    group_size: int = 8
    max_train_samples: int | None = None
    eval_file: list[str] | None = None
    validation_fraction: float = 0.0
    max_length: int | None = None
    stride: int = STRIDE
    teacher_cache_dir: str | None = None

    def __post_init__(self):
        if len(self.text_columns) not in (1, 2) or (self.task == "plain-text" and len(self.text_columns) != 1):
            raise ValueError(
                f"text_columns is {self.text_columns}; valid are one column, and two that make a pair to classify."
            )
        check_number("group_size", self.group_size, 2, example=8, whole=True)
        check_number("validation_fraction", self.validation_fraction, 0, below=1, example=0.1)
        if self.validation_fraction and self.eval_file:
            raise ValueError("eval_file and validation_fraction both choose the data to measure on; give one of them.")
        if self.task == "plain-text" and (self.validation_fraction or self.eval_file):
            raise ValueError("Plain text has no labels to measure on; leave eval_file and validation_fraction out.")
