# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a recipe can train: for each task its models, its data as features, and what a teacher says of them."""

from abc import ABC, abstractmethod

from datasets import Dataset, IterableDataset, concatenate_datasets
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from ..modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)
from ..question_answering.features import MAX_LENGTH, training_features
from ..question_answering.squad import load_squad, split_by_article
from ..texts import MAX_TEXT_LENGTH, cut_texts, load_texts, number_labels, text_features
from .arguments import DistillationArguments
from .augmentation import WordSubstitution, WordVectors, augment
from .recipe_arguments import DataArguments
from .teacher_cache import tokenizer_parts
from .teachers import teacher_inputs, teacher_logits, teacher_predictions, teacher_text_inputs


class Task(ABC):
    """One task of a recipe, on its data.

    Args:
        data_args ([`DataArguments`]): which data.

    Attributes:
        model_class, auto_class: of the student, and of what stays as it is.
        data (`datasets.Dataset`): the rows.
    """

    model_class: type[PreTrainedModel]
    auto_class: type
    max_length: int

    def __init__(self, data_args: DataArguments):
        self.args = data_args
        self.max_length = data_args.max_length or self.max_length
        self.data = _spread(self.load(), data_args.max_train_samples)
        if data_args.augmentation_model_name_or_path:
            self.data = augment(self.data, self.free_columns, _substitution(data_args))

    @property
    def free_columns(self) -> list[str]:
        """Texts that may be written in other words."""
        return self.args.text_columns

    @abstractmethod
    def load(self) -> Dataset:
        """All rows to train on."""

    @abstractmethod
    def features(self, tokenizer) -> Dataset:
        """What the student reads."""

    @abstractmethod
    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """What a teacher reads beside it, for terms between layers."""

    def answers(self, teacher, teacher_tokenizer, tokenizer, student, args: DistillationArguments) -> Dataset | None:
        """What a teacher answers, if it has a task."""
        return None

    def config(self) -> dict:
        """What the data says of a model's configuration."""
        return {}

    def with_teacher(self, features, teacher, source: str, tokenizer, student, args: DistillationArguments):
        """The features with what the objective needs of a teacher beside them: its tokens, its answers, or both."""
        teacher_tokenizer, columns = AutoTokenizer.from_pretrained(source), [features]
        if args.learns_layers and tokenizer_parts(teacher_tokenizer) != tokenizer_parts(tokenizer):
            columns.append(self.inputs(teacher_tokenizer, tokenizer))
        if args.prediction_weight:
            columns.append(self.answers(teacher, teacher_tokenizer, tokenizer, student, args))
        return concatenate_datasets([column for column in columns if column is not None], axis=1)


class QuestionAnswering(Task):
    """Spans of contexts."""

    model_class, auto_class, max_length = DynamicTinyBertForQuestionAnswering, AutoModelForQuestionAnswering, MAX_LENGTH

    def load(self) -> Dataset:
        """Questions with their contexts, without the articles that are held out."""
        data = load_squad(self.args.train_file or self.args.dataset_name or "rajpurkar/squad")
        return split_by_article(data, self.args.held_out)[0] if self.args.held_out else data

    def features(self, tokenizer) -> Dataset:
        """Windows with the positions of the answer."""
        return training_features(self.data, tokenizer, **self._windows)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same windows as the teacher's tokens."""
        return teacher_inputs(teacher_tokenizer, tokenizer, self.data, **self._windows)

    def answers(self, teacher, teacher_tokenizer, tokenizer, student, args) -> Dataset:
        """Start and end distributions."""
        options = {"temperature": args.teacher_temperature, "cache_dir": self.args.teacher_cache_dir}
        return teacher_predictions(teacher, teacher_tokenizer, tokenizer, self.data, **self._windows, **options)

    @property
    def free_columns(self) -> list[str]:
        """The question; the context holds the answer's characters."""
        return ["question"]

    @property
    def _windows(self) -> dict:
        return {"max_length": self.max_length, "stride": self.args.stride}


class TextClassification(Task):
    """Classes of texts or of pairs, or a real number."""

    model_class, auto_class = DynamicTinyBertForSequenceClassification, AutoModelForSequenceClassification
    max_length = MAX_TEXT_LENGTH

    def load(self) -> Dataset:
        """Texts with their labels as numbers."""
        args = self.args
        data = load_texts(args.train_file or args.dataset_name, args.text_columns, args.dataset_config_name)
        data, self.names = number_labels(data, args.class_names)
        return data

    def features(self, tokenizer) -> Dataset:
        """Tokens and labels."""
        return text_features(self.data, tokenizer, self.args.text_columns, self.max_length)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same texts as the teacher's tokens."""
        return teacher_text_inputs(teacher_tokenizer, tokenizer, self.data, self.args.text_columns, self.max_length)

    def answers(self, teacher, teacher_tokenizer, tokenizer, student, args) -> Dataset:
        """Logits in the order of the student's labels."""
        columns, labels = self.args.text_columns, student.config.id2label
        kept = {"max_length": self.max_length, "cache_dir": self.args.teacher_cache_dir}
        return teacher_logits(teacher, teacher_tokenizer, self.data, columns, labels, **kept)

    def config(self) -> dict:
        """The labels and their names."""
        if self.names is None:
            return {"num_labels": 1, "problem_type": "regression"}
        return {
            "num_labels": len(self.names),
            "id2label": dict(enumerate(self.names)),
            "label2id": {name: number for number, name in enumerate(self.names)},
            "problem_type": "single_label_classification",
        }


class PlainText(Task):
    """Running text without labels: all that is learned is in a teacher's layers."""

    model_class, auto_class, max_length = DynamicTinyBertModel, AutoModel, MAX_TEXT_LENGTH

    def load(self) -> Dataset | IterableDataset:
        """Text of any length."""
        args = self.args
        source = args.train_file or args.dataset_name
        return load_texts(source, args.text_columns, args.dataset_config_name, streaming=args.streaming)

    def features(self, tokenizer) -> Dataset | IterableDataset:
        """Pieces as long as a window."""
        [column] = self.args.text_columns
        self.data = cut_texts(self.data.select_columns([column]), tokenizer, column, self.max_length)
        return text_features(self.data, tokenizer, [column], self.max_length)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same pieces as the teacher's tokens."""
        return teacher_text_inputs(teacher_tokenizer, tokenizer, self.data, self.args.text_columns, self.max_length)


TASKS = {"question-answering": QuestionAnswering, "text-classification": TextClassification, "plain-text": PlainText}


def _substitution(args: DataArguments) -> WordSubstitution:
    source = args.augmentation_model_name_or_path
    vectors = WordVectors.from_file(args.augmentation_vectors) if args.augmentation_vectors else None
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    return WordSubstitution(model, tokenizer, vectors, copies=args.augmentation_copies)


def _spread(data, most: int | None):
    """So many rows, spread over the data; of a stream the first."""
    if not most or (isinstance(data, Dataset) and len(data) <= most):
        return data
    if isinstance(data, IterableDataset):
        return data.take(most)
    return data.select([index * len(data) // most for index in range(most)])
