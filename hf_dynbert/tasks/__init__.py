# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A package for each task: data, features, head, pipeline, metrics. `get_task` finds a task by name, `task_of` by model."""

from .base import DataOptions, Evaluator, Scores, Task, get_task, register_task, task_of
from .measurement import Measurement, measure
from .question_answering.evaluate import QUESTION_ANSWERING, QuestionAnsweringEvaluator
from .text_classification.evaluate import TEXT_CLASSIFICATION


# isort: split
from .reranking.evaluate import RERANKING  # after text classification, whose head is the same: the first task is the default


__all__ = [
    "QUESTION_ANSWERING",
    "RERANKING",
    "TEXT_CLASSIFICATION",
    "DataOptions",
    "Evaluator",
    "Measurement",
    "QuestionAnsweringEvaluator",
    "Scores",
    "Task",
    "get_task",
    "measure",
    "register_task",
    "task_of",
]
