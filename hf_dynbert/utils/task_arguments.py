# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of every verb that reads data of a task. Imports nothing heavy, so that `--help` does not wait."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .defaults import STRIDE
from .errors import refuse_without_effect


# Options that only some tasks have; `Task.options` names those of a task
OF_TASKS = """text_columns label_column class_names problem_type max_length stride handle_impossible_answer streaming
dropped_logits""".split()
OF_THE_HUB = ("split", "dataset_config_name")


def check_task_options(arguments, task, sources: Sequence[str]) -> None:
    """Refuses options that have no effect for a task, or for data in files.

    Args:
        arguments: dataclass with the options of a verb.
        task ([`~hf_dynbert.tasks.Task`]): task of the run.
        sources (`list[str]`): files, or one data set on the Hub.

    Raises:
        InputError: names the first of these options.
    """
    refuse_without_effect(arguments, set(OF_TASKS) - set(task.options), f"for task {task.name}")
    if any(Path(source).exists() for source in sources):
        refuse_without_effect(arguments, OF_THE_HUB, "on files: it selects a part of a data set on the Hub")


@dataclass(kw_only=True)
class TaskArguments:
    """Options of a task and of its data.

    Args:
        task (`str`, *optional*): name of a task; by default the task of the checkpoint's head.
        dataset_config_name (`str`, *optional*): configuration of a data set on the Hub.
        text_columns (`list[str]`): column of the text, or two columns that make a pair (text classification).
        label_column (`str`): column of the labels (text classification).
        max_length (`int`, *optional*): most tokens of an input; by default that of the task.
        stride (`int`): tokens that neighbouring windows of a context share (question answering).
        handle_impossible_answer (`bool`, *optional*): whether "no answer" is a valid answer. Data with
            questions without an answer need this option.
    """

    task: str | None = None
    dataset_config_name: str | None = None
    text_columns: list[str] = field(default_factory=lambda: ["text"])
    label_column: str = "label"
    max_length: int | None = None
    stride: int = STRIDE
    handle_impossible_answer: bool | None = None

    def data_options(self, task, sources: Sequence[str], split: str):
        """The options as [`~hf_dynbert.tasks.DataOptions`], for a split of a data set on the Hub, after a check."""
        check_task_options(self, task, sources)
        from ..tasks.base import DataOptions  # imports data sets and PyTorch

        return DataOptions(
            split=split,
            config_name=self.dataset_config_name,
            text_columns=tuple(self.text_columns),
            label_column=self.label_column,
            max_length=self.max_length,
            stride=self.stride,
            handle_impossible_answer=self.handle_impossible_answer,
        )
