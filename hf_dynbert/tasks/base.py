# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a verb needs from a task: its data, and an evaluator that scores models on them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import transformers
from datasets import Dataset

from .. import modeling_dynamic_tinybert
from ..utils.defaults import MAX_LENGTH, STRIDE
from ..utils.errors import check_number
from .inference import pad_batch, run_sorted


@dataclass(frozen=True)
class DataOptions:
    """How a task reads and tokenizes its data. A task reads the fields that its `options` name.

    Args:
        split (`str`): split of a data set on the Hub.
        config_name (`str`, *optional*): configuration of a data set on the Hub.
        text_columns (`tuple[str, ...]`): columns of a text, or of a pair of texts.
        label_column (`str`): column of the labels.
        max_length (`int`, *optional*): largest number of tokens of an input; `None` is the task's default.
        stride (`int`): tokens that neighbouring windows of a context share.
        handle_impossible_answer (`bool`, *optional*): whether "no answer" is a valid answer; `None` refuses data that have
            questions without an answer.
        streaming (`bool`): read plain text during training, for data that do not fit on the disk.
    """

    split: str = "train"
    config_name: str | None = None
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    max_length: int | None = None
    stride: int = STRIDE
    handle_impossible_answer: bool | None = None
    streaming: bool = False


@dataclass(frozen=True)
class Scores:
    """Scores of one model at one budget.

    Args:
        metrics (`dict[str, float]`): value by metric, in percent.
        per_example (`np.ndarray` of shape `(examples,)`): score of each example, for paired standard errors.
        predictions (`list`): prediction for each example, as JSON can write it.
    """

    metrics: dict[str, float]
    per_example: np.ndarray
    predictions: list


class Evaluator(ABC):
    """Scores models on fixed data. Build it once for a tokenizer and data; use it for many models and budgets.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the models.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs of the models.
        batch_size (`int`, *optional*, defaults to 32): inputs of a batch, sorted by length and padded to the longest.
        progress (`bool`, *optional*, defaults to `False`): whether to show a progress bar.

    Attributes:
        primary_metric (`str`): the metric that budgets and searches use.
        lengths (`list[int]`): real tokens of each input.

    Raises:
        ValueError: there are no inputs, or `batch_size` is below 1.
    """

    primary_metric: str

    def __init__(self, tokenizer, inputs: Sequence[dict], batch_size: int = 32, progress: bool = False):
        if not inputs:
            raise ValueError("There is nothing to evaluate: the data set is empty.")
        check_number("batch_size", batch_size, 1, example=32, whole=True)
        self.tokenizer, self.inputs = tokenizer, list(inputs)
        self.batch_size, self.progress = batch_size, progress
        self.lengths = [len(item["input_ids"]) for item in self.inputs]

    @abstractmethod
    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Scores the outputs of a model.

        Args:
            outputs (`list[dict[str, np.ndarray]]`): outputs for each input, by name, without padding.
        """

    def evaluate(self, model, budget=None) -> Scores:
        """Runs a model on all inputs and scores its outputs.

        Args:
            model: any model of transformers or Optimum for this task.
            budget (*optional*): for length-adaptive models, see [`SubNetwork.parse`]; `None` is the model's default.

        Raises:
            ValueError: a budget that the model cannot run.
        """
        call = budget_arguments(model, budget)
        description = "Evaluating" if budget is None else f"Evaluating at {budget}"
        progress = description if self.progress else None
        outputs = run_sorted(model, self.tokenizer, self.inputs, self.batch_size, progress, **call)
        return self.score(outputs)

    def __call__(self, model, budget=None) -> dict[str, float]:
        """Value by metric, in percent; see `evaluate`."""
        return self.evaluate(model, budget).metrics

    def per_example(self, model, budget=None) -> np.ndarray:
        """Score of each example, `(examples,)`; see `evaluate`."""
        return self.evaluate(model, budget).per_example

    def timed_inputs(self, number: int, batch_size: int = 1) -> list[dict[str, torch.Tensor]]:
        """Unpadded batches, each of copies of one input, spread evenly over the lengths.

        Args:
            number (`int`): how many; fewer if there are fewer inputs.
            batch_size (`int`, *optional*, defaults to 1): copies of an input.
        """
        order = sorted(range(len(self.inputs)), key=lambda index: -self.lengths[index])
        number = min(number, len(order))
        chosen = [order[index * len(order) // number] for index in range(number)]
        return [pad_batch(self.tokenizer, [self.inputs[index]] * batch_size) for index in chosen]


class Task(ABC):
    """One task: its data, its head and its metrics, for all verbs.

    Attributes:
        name (`str`): name in `--task`.
        head (`str`): end of the class names of models for this task, for example `ForQuestionAnswering`.
        primary_metric (`str`): default of the metric that budgets and searches use.
        max_length (`int`): default of the largest number of tokens of an input.
        default_dataset (`str` or `None`): data set on the Hub that verbs read if no data are given.
        unit (`str`): what `validation_fraction` counts, for the model card.
        has_answers (`bool`): whether models have a head whose outputs a teacher can teach.
        pipeline (`str` or `None`): name of the pipeline that predicts.
        fields (`tuple[str, ...]`): fields of an input of the pipeline.
        example (`str`): arguments of a call of the pipeline, in Python, for the model card.
        hub_name (`str` or `None`): `pipeline_tag` of the task's models on the Hub; the name by default.
        call_size (`int`): inputs of a usual call, with which a search times budgets.
        min_tokens_to_drop (`int` or `None`): of new models; `None` is the configuration's own default, for single inputs.
        options (`tuple[str, ...]`): options of verbs that the task uses, of those in `OF_TASKS`; verbs refuse the others.
    """

    name: ClassVar[str]
    head: ClassVar[str]
    primary_metric: ClassVar[str]
    default_dataset: ClassVar[str | None] = None
    max_length: ClassVar[int] = MAX_LENGTH
    unit: ClassVar[str] = "of the rows"
    has_answers: ClassVar[bool] = True
    pipeline: ClassVar[str | None] = None
    fields: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str] = ""
    hub_name: ClassVar[str | None] = None
    call_size: ClassVar[int] = 1
    min_tokens_to_drop: ClassVar[int | None] = None
    options: ClassVar[tuple[str, ...]] = ("max_length",)

    @property
    def auto_class(self) -> type:
        """Class of transformers that loads models for this task."""
        return getattr(transformers, f"AutoModel{self.head}")

    @property
    def model_class(self) -> type:
        """Class of length-adaptive models for this task."""
        return getattr(modeling_dynamic_tinybert, f"DynamicTinyBert{self.head}")

    def is_named_by(self, config: dict) -> bool:
        """Whether the configuration of a checkpoint names this task, which may share its head with other tasks."""
        return config.get("task") == self.name

    def check_config(self, config: dict) -> None:  # noqa: B027 (most tasks take every model with their head)
        """Refuses the configuration of a checkpoint that has the head of the task but does not fit it.

        Raises:
            ValueError: says what does not fit.
        """

    @abstractmethod
    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset:
        """Reads and checks the data.

        Args:
            sources (`list[str]`): files, or one data set on the Hub.
            options ([`DataOptions`]): how to read the data.

        Raises:
            ValueError: data that do not fit the task; the error names the file and the row.
        """

    def split(self, data: Dataset, validation_fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Splits the data at random into a training split and a validation split.

        Raises:
            ValueError: an impossible fraction.
        """
        held = round(validation_fraction * len(data)) if 0 < validation_fraction < 1 else 0
        if not 0 < held < len(data):
            raise ValueError(
                f"validation_fraction is {validation_fraction}; it must leave some {self.unit} ({len(data)}) on both sides, "
                "for example 0.1."
            )
        shuffled = data.shuffle(seed=seed)
        return shuffled.select(range(held, len(data))), shuffled.select(range(held))

    @abstractmethod
    def inputs(self, tokenizer, data: Dataset, options: DataOptions) -> list[dict[str, list[int]]]:
        """Unpadded inputs of a model, for calibration and timing."""

    @abstractmethod
    def evaluator(
        self, tokenizer, data: Dataset, config, options: DataOptions, batch_size: int = 32, progress: bool = False
    ) -> Evaluator:
        """Makes the evaluator of these data.

        Args:
            tokenizer (`PreTrainedTokenizerFast`): tokenizer of the models.
            data (`datasets.Dataset`): rows of `load`.
            config (`PreTrainedConfig`): configuration of the models, with their labels.
            options ([`DataOptions`]): how to tokenize.
            batch_size, progress: see [`Evaluator`].
        """

    def load_unlabelled(self, sources: Sequence[str], options: DataOptions, config) -> Dataset:
        """Reads inputs without labels. Labels in the files are not used: each row has a placeholder.

        Args:
            sources, options: see `load`.
            config (`PreTrainedConfig`): configuration of the model that will predict labels.

        Raises:
            ValueError: data that do not fit the task, or a task that has no such data.
        """
        raise ValueError(f"Task {self.name!r} reads no data without labels, so its models cannot be adapted.")

    def with_predictions(self, data: Dataset, predictions: list) -> list[dict]:
        """The rows of `load_unlabelled` with a model's predictions as labels, as JSON lines that `load` reads.

        Args:
            data (`datasets.Dataset`): rows of `load_unlabelled`.
            predictions (`list`): `Scores.predictions` of the model.
        """
        raise ValueError(f"Task {self.name!r} reads no data without labels, so its models cannot be adapted.")

    def pipeline_options(self, max_length: int | None) -> dict:
        """Options of the task's pipeline that cut an input at `max_length` tokens, or at the task's own limit for `None`."""
        return {} if max_length is None else {"max_length": max_length}

    def extra_files(self, config) -> dict[str, object]:
        """Name and content of JSON files for other libraries, beside a model with this configuration."""
        return {}

    def write_extra_files(self, folder: Path, config) -> list[str]:
        """Writes these files, and returns their names."""
        files = self.extra_files(config)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return list(files)

    def training_rows(self, tokenizer, data: Dataset, options: DataOptions) -> Dataset:
        """The rows for `training_features` and for a teacher; by default the rows of the data."""
        return data

    def training_features(self, tokenizer, data: Dataset, options: DataOptions) -> Dataset:
        """Features to train on: inputs, labels and `length`.

        Raises:
            ValueError: models for this task are not trained by recipes.
        """
        raise ValueError(f"Task {self.name!r} has no training features: train its models with DistillationTrainer.")

    def group(self, features: Dataset, size: int, seed: int) -> Dataset:
        """Rows of several examples that `ranking_loss` compares.

        Raises:
            ValueError: the examples of this task do not belong together.
        """
        raise ValueError(f"ranking_loss compares passages of a query; task {self.name} has none. Leave it out.")

    def texts(self, data: Dataset, options: DataOptions) -> tuple[Dataset, Sequence[str]]:
        """The texts of the rows of `training_features`, for a teacher: rows, and their columns of a text or of a pair."""
        return data, options.text_columns

    def number_labels(
        self,
        data: Dataset,
        class_names: Sequence[str] | None = None,
        like: Dataset | None = None,
        problem_type: str | None = None,
    ) -> Dataset:
        """Makes labels numbers, in the order of `class_names`, or of another data set `like`."""
        return data

    def follow(self, data: Dataset, config) -> Dataset:
        """Numbers labels as a checkpoint's head does, so that a trained head stays valid."""
        return data

    def label_fields(self, data: Dataset) -> dict:
        """Fields of the model's configuration that depend on the labels."""
        return {}


TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Adds a task to those of all verbs."""
    TASKS[task.name] = task
    return task


def get_task(name: str) -> Task:
    """Returns the task with this name."""
    if name not in TASKS:
        raise ValueError(f"task is {name!r}; valid are {', '.join(map(repr, TASKS))}.")
    return TASKS[name]


def task_of(config, name: str | None = None, source: str = "The model") -> Task:
    """The task of a checkpoint: the one that `config.task` names, or that of its head, unless a name is given.

    Args:
        config (`PreTrainedConfig` or `dict`): configuration of the checkpoint.
        name (`str`, *optional*): task to use; a checkpoint whose head belongs to another task is refused.
        source (`str`, *optional*): folder or Hub id, for the error.

    Raises:
        ValueError: the head is for another task, does not fit the task, or is for no task and no name is given.
    """
    task, fields = None if name is None else get_task(name), _fields(config)
    architectures, found = list(fields.get("architectures") or []), _tasks_of_head(fields)
    if task is None and not found:
        heads = ", ".join(dict.fromkeys(item.head for item in TASKS.values()))
        raise ValueError(
            f"{source} has no head for a task (its architecture is {', '.join(architectures) or 'not given'}); valid heads "
            f"are {heads}. Give the task, one of {', '.join(map(repr, TASKS))}, or fine-tune the model first: "
            f"hf-dynbert train --model_name_or_path {source} ..."
        )
    task = task or find_task(fields)
    if found and task not in found:
        raise ValueError(
            f"{source} is a model for {found[0].name}, not for {name}: its head is {', '.join(architectures)}. "
            f"Use task={found[0].name!r}, or train a head for {name!r} first."
        )
    if found:
        task.check_config(fields)
    return task


def check_head(config, task: Task, source: str) -> None:
    """Refuses a checkpoint without a head for the task: a new head would be random."""
    architectures = _fields(config).get("architectures") or []
    if not any(name.endswith(task.head) for name in architectures):
        raise ValueError(
            f"{source} has no head for task {task.name!r}, which needs a model {task.head} (its architecture is "
            f"{', '.join(architectures) or 'not given'}). Train the head first: hf-dynbert train --task {task.name} "
            f"--model_name_or_path {source} ..."
        )


def find_task(config) -> Task | None:
    """The task that `config.task` names, or the first one with the head of the checkpoint; `None` for no such head."""
    fields = _fields(config)
    found = _tasks_of_head(fields)
    return next((task for task in found if task.is_named_by(fields)), found[0] if found else None)


def _fields(config) -> dict:
    return config if isinstance(config, dict) else config.to_dict()


def _tasks_of_head(fields: dict) -> list[Task]:
    return [task for task in TASKS.values() if any(head.endswith(task.head) for head in fields.get("architectures") or [])]


def budget_arguments(model, budget) -> dict:
    """Returns the arguments of a call at this budget, after a check."""
    if hasattr(model.config, "resolve_budget"):
        model.config.resolve_budget(budget)
        return {} if budget is None else {"budget": budget}
    if budget is not None:
        raise ValueError(
            f"{type(model).__name__} has no length configuration and no budgets (got {budget!r}); load the checkpoint as a "
            "DynamicTinyBert model, for example DynamicTinyBertForQuestionAnswering.from_backbone(checkpoint)."
        )
    return {}
