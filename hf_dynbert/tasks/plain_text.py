# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Plain text without labels: a student learns from a teacher's layers alone."""

from collections.abc import Sequence

from datasets import Dataset, IterableDataset
from transformers import AutoModel

from .base import DataOptions, Evaluator, Task
from .text_classification.data import MAX_TEXT_LENGTH, cut_texts, load_texts, text_features


class PlainText(Task):
    """Text of any length, cut into pieces that fill a window. Only `train` takes this task, which has no metric."""

    name, head, primary_metric, max_length, has_answers = "plain-text", "Model", "", MAX_TEXT_LENGTH, False
    options = ("text_columns", "max_length", "streaming")

    @property
    def auto_class(self) -> type:
        """Class of transformers that loads a model without a head."""
        return AutoModel

    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset | IterableDataset:
        """Reads texts; see `load_texts`."""
        return load_texts(list(sources), options.text_columns, options.config_name, options.split, options.streaming)

    def split(self, data, validation_fraction: float, seed: int = 0):
        """Refuses a validation split."""
        raise ValueError("Plain text has no labels to measure on; leave validation_fraction out.")

    def inputs(self, tokenizer, data, options: DataOptions) -> list[dict[str, list[int]]]:
        """Tokens of the pieces."""
        features = self.training_features(tokenizer, data, options).remove_columns("length")
        return [dict(row) for row in features]

    def evaluator(self, tokenizer, data, config, options: DataOptions, batch_size=32, progress=False) -> Evaluator:
        """Refuses evaluation."""
        raise ValueError("Plain text has no labels to measure on; give a task with labels.")

    def training_rows(self, tokenizer, data, options: DataOptions) -> Dataset | IterableDataset:
        """The text, joined and cut between words into pieces as long as a window."""
        [column] = options.text_columns
        return cut_texts(data.select_columns([column]), tokenizer, column, options.max_length or self.max_length)

    def training_features(self, tokenizer, data, options: DataOptions) -> Dataset | IterableDataset:
        """Tokens of `training_rows`."""
        return text_features(data, tokenizer, options.text_columns, options.max_length or self.max_length)


PLAIN_TEXT = PlainText()
