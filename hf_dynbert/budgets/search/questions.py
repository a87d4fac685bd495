# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Question answering as a task of the search, until `hf_dynbert.tasks` has its evaluators."""

import numpy as np
import torch

from ...configuration_dynamic_tinybert import FULL
from ...subnetwork import SubNetwork
from ...tasks.question_answering.evaluate import SquadSample
from ...tasks.question_answering.metrics import question_scores, token_f1
from ...tasks.question_answering.squad import load_squad, split_by_article, spread_over


class QuestionEvaluator:
    """Scores questions that are tokenized once."""

    primary_metric = "f1"

    def __init__(self, tokenizer, data, max_length: int, stride: int, batch_size: int):
        self.sample, self.batch_size = SquadSample(tokenizer, data, max_length, stride), batch_size
        self.lengths = self.sample.lengths

    def __call__(self, model, budget=None) -> dict[str, float]:
        """F1 in percent."""
        return {"f1": float(self.per_example(model, budget).mean())}

    def per_example(self, model, budget=None) -> np.ndarray:
        """F1 of each question."""
        options = {"batch_size": self.batch_size, "latency_samples": 0, "progress": False}
        if isinstance(budget, SubNetwork):
            budget = FULL if budget.length_config is None else list(budget.length_config)
        found = self.sample.evaluate(model, budget, **options)
        return np.array(question_scores(token_f1, found.predictions, self.sample.answers))

    def timed_inputs(self, n: int) -> list[dict[str, torch.Tensor]]:
        """Inputs spread over the lengths."""
        order = self.sample.order
        windows = [self.sample.windows[order[(2 * index + 1) * len(order) // (2 * n)]] for index in range(n)]
        return [{name: torch.tensor([ids]) for name, ids in window.inputs.items()} for window in windows]


class Questions:
    """Question answering."""

    @staticmethod
    def load(source, split: str = "train", limit: int | None = None):
        """Loads questions."""
        data = load_squad(source, split="validation" if split == "test" else split)
        return spread_over(data, limit)

    @staticmethod
    def split(data, validation_fraction: float):
        """Splits by article."""
        return split_by_article(data, validation_fraction)

    @staticmethod
    def evaluator(tokenizer, data, **options) -> QuestionEvaluator:
        """Evaluator of some questions."""
        return QuestionEvaluator(tokenizer, data, **options)


def task_of(config):
    """Question answering."""
    return Questions
