# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Agreement with the answers of a model itself, in place of a metric that needs labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..tasks.base import DataOptions, Evaluator, Scores, Task
from ..tasks.text_classification.evaluate import RegressionEvaluator


AGREEMENT = "agreement"


class AgreementEvaluator(Evaluator):
    """Agreement with answers that take the place of labels, in percent: a mean over examples.

    Classes: the share of texts with the same class, or of equal labels. Questions: token F1. Rankings: nDCG@10.
    Real numbers: the share of the variance that is explained, which is negative for predictions worse than the mean.

    Args:
        evaluator ([`Evaluator`]): evaluator of a task, with answers in place of labels.
    """

    primary_metric = AGREEMENT

    def __init__(self, evaluator: Evaluator):
        super().__init__(evaluator.tokenizer, evaluator.inputs, evaluator.batch_size, evaluator.progress)
        self.evaluator = evaluator

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Compares the outputs with the answers."""
        scores = self.evaluator.score(outputs)
        agreement = scores.per_example
        if isinstance(self.evaluator, RegressionEvaluator):  # its score of an example is the negative squared error
            variance = float(self.evaluator.labels.var()) or 1.0  # equal answers have none
            agreement = 100 * (1 + agreement / variance)
        return Scores({AGREEMENT: float(agreement.mean())}, agreement, scores.predictions)


class AgreementTask(Task):
    """A task whose labels are a model's own answers and whose metric is the agreement with them.

    Args:
        task ([`Task`]): task of the model.
    """

    primary_metric = AGREEMENT

    def __init__(self, task: Task):
        self.task = task
        self.name, self.head, self.unit, self.max_length = task.name, task.head, task.unit, task.max_length
        self.call_size = task.call_size
        self.options = task.options

    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset:
        """Reads inputs with answers in place of labels."""
        return self.task.load(sources, options)

    def split(self, data: Dataset, validation_fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Splits as the task does."""
        return self.task.split(data, validation_fraction, seed)

    def inputs(self, tokenizer, data: Dataset, options: DataOptions) -> list[dict[str, list[int]]]:
        """Inputs of the task."""
        return self.task.inputs(tokenizer, data, options)

    def evaluator(
        self, tokenizer, data: Dataset, config, options: DataOptions, batch_size: int = 32, progress: bool = False
    ) -> AgreementEvaluator:
        """Agreement with the answers."""
        return AgreementEvaluator(self.task.evaluator(tokenizer, data, config, options, batch_size, progress))

    def write_extra_files(self, folder: Path, config) -> list[str]:
        """Files of the task."""
        return self.task.write_extra_files(folder, config)
