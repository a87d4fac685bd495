# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Text classification: accuracy, macro F1 or correlation of a model, and the task for the verbs."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from transformers.utils import logging

from ..base import DataOptions, Evaluator, Scores, Task, register_task
from .data import MAX_TEXT_LENGTH, check_texts, encode_texts, load_texts, text_features
from .labels import (
    LABEL,
    check_labels,
    feature_names,
    generic_names,
    label_numbers,
    number_labels,
    problem_type_of,
    renumber_labels,
    set_size,
)


logger = logging.get_logger(__name__)


class ClassificationEvaluator(Evaluator):
    """Accuracy, macro F1 and Matthews' correlation, in percent, for one label of each text.

    Args:
        tokenizer, inputs, batch_size, progress: see [`Evaluator`].
        labels (`list[int]`): number of the right class of each text.
        names (`list[str]`): names of the classes.
    """

    primary_metric = "accuracy"

    def __init__(self, tokenizer, inputs, labels: Sequence[int], names: Sequence[str], **options):
        super().__init__(tokenizer, inputs, **options)
        self.labels, self.names = np.array(labels), list(names)

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Compares the most probable class with the label."""
        from sklearn.metrics import matthews_corrcoef  # takes a second to import, and no other task needs it

        predicted = np.array([output["logits"].argmax() for output in outputs])
        right = 100.0 * (predicted == self.labels)
        metrics = {"accuracy": float(right.mean()), "f1_macro": _macro_f1(self.labels, predicted)}
        metrics["matthews_correlation"] = 100 * float(matthews_corrcoef(self.labels, predicted))
        return Scores(metrics, right, [self.names[number] for number in predicted])


class MultiLabelEvaluator(ClassificationEvaluator):
    """Accuracy of whole label sets, macro F1 and macro average precision, in percent, for any number of labels of each text.

    A label is set above a probability of 0.5. Average precision is the mean over labels that some text has.

    Args:
        labels (`list[list[int]]` of shape `(texts, labels)`): one 0 or 1 for each label.
    """

    primary_metric = "f1_macro"

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Compares the set labels. The score of a text is the share of its labels that are right."""
        from sklearn.metrics import (  # take a second to import, and no other task needs them
            average_precision_score,
            f1_score,
        )

        predicted = np.array([output["logits"] > 0 for output in outputs])
        right = predicted == self.labels.astype(bool)
        logits = np.array([output["logits"] for output in outputs])
        # Label by label, since scikit-learn takes one column for a choice between the classes 0 and 1
        columns = list(zip(self.labels.T, predicted.T, logits.T, strict=True))
        f1 = [f1_score(labels, found, zero_division=0) for labels, found, _ in columns]
        precision = [average_precision_score(labels, scores) for labels, _, scores in columns if labels.any()]
        metrics = {"accuracy": 100 * float(right.all(axis=1).mean()), "f1_macro": 100 * float(np.mean(f1))}
        metrics["average_precision"] = 100 * float(np.mean(precision or [0]))
        sets = [[self.names[index] for index in np.flatnonzero(row)] for row in predicted]
        return Scores(metrics, 100.0 * right.mean(axis=1), sets)


class RegressionEvaluator(Evaluator):
    """Spearman's and Pearson's correlation in percent, for a real number of each text.

    Args:
        tokenizer, inputs, batch_size, progress: see [`Evaluator`].
        labels (`list[float]`): right numbers.

    A correlation is not a mean over examples, so `per_example` is the negative squared error of each text.
    """

    primary_metric = "spearmanr"

    def __init__(self, tokenizer, inputs, labels: Sequence[float], **options):
        super().__init__(tokenizer, inputs, **options)
        self.labels = np.array(labels, dtype=float)

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Correlates predictions and labels; a constant prediction has correlation 0."""
        from scipy.stats import pearsonr, spearmanr  # takes a second to import, and no other task needs it

        predicted = np.array([float(output["logits"][0]) for output in outputs])
        constant = len(predicted) < 2 or not predicted.std() or not self.labels.std()
        metrics = {
            "spearmanr": 0.0 if constant else float(100 * spearmanr(predicted, self.labels).statistic),
            "pearsonr": 0.0 if constant else float(100 * pearsonr(predicted, self.labels).statistic),
            "mse": float(np.mean((predicted - self.labels) ** 2)),
        }
        return Scores(metrics, -((predicted - self.labels) ** 2), predicted.tolist())


class TextClassification(Task):
    """Classes of texts or of pairs of texts, several labels of each, or a real number."""

    name, head, max_length = "text-classification", "ForSequenceClassification", MAX_TEXT_LENGTH
    primary_metric = "accuracy"
    pipeline, fields, example = "text-classification", ("text", "text_pair"), '"The lamp burns clear."'
    options = ("text_columns", "label_column", "class_names", "problem_type", "max_length")

    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset:
        """Reads texts with their labels; see `load_texts`.

        Raises:
            ValueError: data without labels, or a row without a label.
        """
        data = load_texts(
            list(sources),
            options.text_columns,
            name=options.config_name,
            split=options.split,
            label_column=options.label_column,
        )
        for column in options.text_columns:
            check_texts(data[column], column, f"{', '.join(sources)}: ")
        check_labels(data, ", ".join(sources))
        return data

    def load_unlabelled(self, sources: Sequence[str], options: DataOptions, config) -> Dataset:
        """Reads the texts alone."""
        columns = list(options.text_columns)
        data = load_texts(list(sources), columns, name=options.config_name, split=options.split).select_columns(columns)
        for column in columns:
            check_texts(data[column], column, f"{', '.join(sources)}: ")
        placeholder = [] if config.problem_type == "multi_label_classification" else 0
        return data.add_column(LABEL, [placeholder] * len(data))

    def with_predictions(self, data: Dataset, predictions: list) -> list[dict]:
        """The texts with names of classes, lists of names, or real numbers."""
        return [row | {LABEL: prediction} for row, prediction in zip(data, predictions, strict=True)]

    def inputs(self, tokenizer, data: Dataset, options: DataOptions) -> list[dict[str, list[int]]]:
        """Tokens of each text, or pair of texts, cut at `max_length`."""
        encoding = encode_texts(tokenizer, data[:], options.text_columns, options.max_length or self.max_length)
        return [{name: encoding[name][row] for name in encoding} for row in range(len(data))]

    def evaluator(
        self, tokenizer, data: Dataset, config, options: DataOptions, batch_size: int = 32, progress: bool = False
    ) -> Evaluator:
        """Accuracy, macro F1 or correlation, by the model's `problem_type`; labels are matched by name."""
        if len(data) == 0:
            raise ValueError("There is nothing to evaluate: the data set is empty.")
        inputs, labels = self.inputs(tokenizer, data, options), label_numbers(data[LABEL][:], data.features[LABEL], config)
        options = {"batch_size": batch_size, "progress": progress}
        if problem_type_of(config) == "regression":
            return RegressionEvaluator(tokenizer, inputs, labels, **options)
        names = [config.id2label[number] for number in range(config.num_labels)]
        is_multi_label = config.problem_type == "multi_label_classification"
        kind = MultiLabelEvaluator if is_multi_label else ClassificationEvaluator
        return kind(tokenizer, inputs, labels, names, **options)

    def pipeline_options(self, max_length: int | None) -> dict:
        """Truncation, by default at what the model reads."""
        return {"truncation": True} | super().pipeline_options(max_length)

    def training_features(self, tokenizer, data: Dataset, options: DataOptions) -> Dataset:
        """Tokens and labels."""
        return text_features(data, tokenizer, options.text_columns, options.max_length or self.max_length)

    def number_labels(
        self,
        data: Dataset,
        class_names: Sequence[str] | None = None,
        like: Dataset | None = None,
        problem_type: str | None = None,
    ) -> Dataset:
        """Makes names of classes numbers, and keeps real numbers.

        Raises:
            ValueError: a row without a label, or a class that `like` does not have.
        """
        data = number_labels(data, class_names, problem_type)
        names, known = class_labels(data), None if like is None else class_labels(like)
        if names is None or known is None or names == known:
            return data
        if unknown := sorted(set(names) - set(known)):
            raise ValueError(
                f"eval_file has the labels {', '.join(unknown)}, which the training data do not have; they have "
                f"{', '.join(known)}."
            )
        return renumber_labels(data, known)

    def follow(self, data: Dataset, config) -> Dataset:
        """Numbers the classes as the checkpoint does, if it has the same classes."""
        theirs = [str(name) for _, name in sorted((config.id2label or {}).items())]
        names = class_labels(data)
        if not names or theirs == names or generic_names(theirs) or len(theirs) != len(names):
            return data
        if sorted(name.lower() for name in theirs) == sorted(name.lower() for name in names):
            return renumber_labels(data, theirs)
        logger.warning(
            f"The checkpoint's classes are {', '.join(theirs)}, the data's {', '.join(names)}: its head must be retrained."
        )
        return data

    def label_fields(self, data: Dataset) -> dict:
        """The classes and their names, or one real number."""
        names = class_labels(data)
        if names is None:
            return {"num_labels": 1, "problem_type": "regression"}
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
            "problem_type": "single_label_classification" if set_size(data) is None else "multi_label_classification",
        }


TEXT_CLASSIFICATION = register_task(TextClassification())


def class_labels(data: Dataset) -> list[str] | None:
    """Names of the classes in the order of their numbers; `None` for real numbers."""
    return feature_names(data.features[LABEL])


def _macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 of the classes, in percent; a class without examples and predictions counts 0, as in scikit-learn."""
    from sklearn.metrics import f1_score  # takes a second to import, and no other task needs it

    return 100 * float(f1_score(labels, predicted, average="macro", zero_division=0))
