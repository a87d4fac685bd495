# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The data of a run: rows of a task, as features of a student and as columns of a teacher."""

from dataclasses import replace

from datasets import Dataset, IterableDataset, concatenate_datasets
from transformers import AutoTokenizer

from ..tasks import DataOptions
from ..tasks.base import TASKS, Task
from ..tasks.plain_text import PLAIN_TEXT
from ..tasks.question_answering.squad import spread_over
from ..training.arguments import DistillationArguments
from ..training.cache import tokenizer_parts
from ..training.teachers import (
    readable_tokens,
    teacher_inputs,
    teacher_logits,
    teacher_predictions,
    teacher_text_inputs,
)
from ..utils.errors import check_choice
from .arguments import DataArguments


SHUFFLED = 10_000  # pieces of a stream to shuffle: a few thousand articles, so that a batch mixes many


def recipe_task(data_args: DataArguments) -> Task:
    """The task to train for: one of all verbs, or plain text."""
    tasks = TASKS | {PLAIN_TEXT.name: PLAIN_TEXT}
    check_choice("task", data_args.task, tasks)
    return tasks[data_args.task]


def sources_of(data_args: DataArguments, task: Task) -> list[str]:
    """Files, or one data set on the Hub."""
    sources = data_args.train_file or [data_args.dataset_name or task.default_dataset]
    if sources == [None]:
        raise ValueError(f"task {task.name} needs texts: give train_file or dataset_name.")
    return sources


class RecipeData:
    """The rows to train on and to measure on.

    Args:
        data_args ([`DataArguments`]): the data to load.
        args ([`DistillationArguments`]): seed, and what is learned from a teacher.
        config (`PreTrainedConfig`, *optional*): of the starting checkpoint, as whose labels those of the rows are numbered.

    Attributes:
        training, validation (`datasets.Dataset`): `validation` is `None` if nothing is measured.
    """

    def __init__(self, data_args: DataArguments, args: DistillationArguments, config=None):
        self.task, self.data_args, self.args = recipe_task(data_args), data_args, args
        self.options = DataOptions(
            config_name=data_args.dataset_config_name,
            text_columns=tuple(data_args.text_columns),
            label_column=data_args.label_column,
            max_length=data_args.max_length or self.task.max_length,
            stride=data_args.stride,
            streaming=data_args.streaming,
        )
        sources = sources_of(data_args, self.task)
        labels = {"class_names": data_args.class_names, "problem_type": data_args.problem_type}
        data, validation = self.task.number_labels(self.task.load(sources, self.options), **labels), None
        if data_args.validation_fraction:
            data, validation = self.task.split(data, data_args.validation_fraction)
        elif data_args.eval_file:
            rows = self.task.load(data_args.eval_file, replace(self.options, config_name=None))
            validation = self.task.number_labels(rows, like=data, **labels)
        if config is not None:
            data = self.task.follow(data, config)
            validation = None if validation is None else self.task.follow(validation, config)
        most = data_args.max_train_samples
        self.training = data.take(most) if most and isinstance(data, IterableDataset) else spread_over(data, most)
        self.validation = validation

    def features(self, tokenizer) -> Dataset | IterableDataset:
        """The student's features to train on."""
        self.training = self.task.training_rows(tokenizer, self.training, self.options)
        if isinstance(self.training, IterableDataset):  # the Trainer does not shuffle a stream
            self.training = self.training.shuffle(self.args.seed, buffer_size=SHUFFLED)
        return self.task.training_features(tokenizer, self.training, self.options)

    def validation_features(self, tokenizer) -> Dataset | None:
        """The student's features to measure on; `None` without evaluation."""
        if self.validation is None or self.args.eval_strategy == "no":
            return None
        return self.task.training_features(tokenizer, self.validation, self.options)

    def with_teacher(self, features, teacher, source: str, tokenizer, student):
        """The features, with the teacher's columns that the objective needs: its tokens, its answers, or both."""
        teacher_tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        teacher_tokenizer.model_max_length = readable_tokens(teacher, teacher_tokenizer)
        tokenizers, columns = (teacher_tokenizer, tokenizer), [features]
        if self.args.learns_layers and tokenizer_parts(teacher_tokenizer) != tokenizer_parts(tokenizer):
            columns.append(self._teacher_inputs(*tokenizers))
        if self.args.learns_answers and self.task.has_answers:
            columns.append(self._teacher_answers(teacher, *tokenizers, student))
        return concatenate_datasets(columns, axis=1)

    @property
    def _reads_windows(self) -> bool:
        return self.task.head == "ForQuestionAnswering"

    def _teacher_inputs(self, teacher_tokenizer, tokenizer):
        """The teacher's tokens of the same windows or texts."""
        options, data = self.options, self.training
        if self._reads_windows:
            return teacher_inputs(teacher_tokenizer, tokenizer, data, options.max_length, options.stride)
        texts, columns = self.task.texts(data, options)
        return teacher_text_inputs(teacher_tokenizer, tokenizer, texts, columns, options.max_length)

    def _teacher_answers(self, teacher, teacher_tokenizer, tokenizer, student):
        """Start and end distributions, or logits in the order of the student's labels."""
        options, data, models = self.options, self.training, (teacher, teacher_tokenizer, tokenizer)
        lengths = {"max_length": options.max_length, "cache_dir": self.data_args.teacher_cache_dir}
        if self._reads_windows:
            temperature = self.args.teacher_temperature
            return teacher_predictions(*models, data, stride=options.stride, temperature=temperature, **lengths)
        texts, columns = self.task.texts(data, options)
        return teacher_logits(*models, texts, columns, student.config.id2label, **lengths)
