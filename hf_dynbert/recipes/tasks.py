# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The tasks of a recipe: for each task its models, its data as features, and a teacher's answers."""

from abc import ABC, abstractmethod

from datasets import Dataset, IterableDataset, concatenate_datasets
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging

from ..modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)
from ..tasks.base import get_task
from ..tasks.question_answering.features import MAX_LENGTH, training_features
from ..tasks.question_answering.squad import load_squad, spread_over
from ..tasks.text_classification.data import (
    LABEL,
    MAX_TEXT_LENGTH,
    cut_texts,
    generic_names,
    load_texts,
    number_labels,
    text_features,
)
from ..training.arguments import DistillationArguments
from ..training.cache import tokenizer_parts
from ..training.teachers import (
    readable_tokens,
    teacher_inputs,
    teacher_logits,
    teacher_predictions,
    teacher_text_inputs,
)
from .arguments import DataArguments


SHUFFLED = 10_000  # pieces of a stream to shuffle: a few thousand articles, so that a batch mixes many

logger = logging.get_logger(__name__)


class Task(ABC):
    """One task of a recipe, with its data.

    Args:
        data_args ([`DataArguments`]): the data to load.
        args ([`DistillationArguments`]): seed, device, and weights of the objective.

    Attributes:
        model_class, auto_class: class of a length-adaptive student, and of a model that stays as it is.
        has_answers (`bool`): whether models have a head for the task.
        default_dataset (`str`, *optional*): on the Hub, for recipes that name no data.
        unit (`str`): what `validation_fraction` counts, for the model card.
        data, validation (`datasets.Dataset`): rows to train on, and to measure on (`None` without a validation split).
    """

    model_class: type[PreTrainedModel]
    auto_class: type
    max_length: int
    has_answers = True
    default_dataset: str | None = None
    unit = "of the rows"

    def __init__(self, data_args: DataArguments, args: DistillationArguments):
        self.args, self.training = data_args, args
        self.max_length = data_args.max_length or self.max_length
        self.data, self.validation = self.load()
        self.data = _spread(self.data, data_args.max_train_samples)

    @abstractmethod
    def load(self) -> tuple[Dataset, Dataset | None]:
        """The rows to train on, and the rows to measure on, if there are any."""

    @abstractmethod
    def encode(self, data, tokenizer) -> Dataset:
        """The student's features of these rows."""

    def features(self, tokenizer) -> Dataset:
        """The student's features to train on."""
        return self.encode(self.data, tokenizer)

    def validation_features(self, tokenizer) -> Dataset | None:
        """The student's features to measure on; `None` without evaluation."""
        if self.validation is None or self.training.eval_strategy == "no":
            return None
        return self.encode(self.validation, tokenizer)

    @abstractmethod
    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """What a teacher reads beside the features, for terms between layers."""

    def answers(self, teacher, teacher_tokenizer, tokenizer, student) -> Dataset | None:
        """A teacher's answers; `None` without a head for the task."""
        return None

    def config(self) -> dict:
        """Fields of the model's configuration that the data decide."""
        return {}

    def with_teacher(self, features, teacher, source: str, tokenizer, student):
        """The features, with the columns that the objective needs of a teacher: its tokens, its answers, or both."""
        args, teacher_tokenizer, columns = (
            self.training,
            AutoTokenizer.from_pretrained(source, trust_remote_code=False),
            [features],
        )
        teacher_tokenizer.model_max_length = readable_tokens(teacher, teacher_tokenizer)
        if args.learns_layers and tokenizer_parts(teacher_tokenizer) != tokenizer_parts(tokenizer):
            columns.append(self.inputs(teacher_tokenizer, tokenizer))
        if args.learns_answers:
            columns.append(self.answers(teacher, teacher_tokenizer, tokenizer, student))
        return concatenate_datasets([column for column in columns if column is not None], axis=1)

    def follow(self, config) -> None:
        """Numbers the labels as the checkpoint's head does, so that a trained head keeps its meaning."""
        return


class QuestionAnswering(Task):
    """Extractive question answering: spans of contexts."""

    model_class, auto_class, max_length = DynamicTinyBertForQuestionAnswering, AutoModelForQuestionAnswering, MAX_LENGTH
    default_dataset = "rajpurkar/squad"
    unit = "of the articles"

    def load(self) -> tuple[Dataset, Dataset | None]:
        """Questions with their contexts; the validation split has whole articles."""
        args = self.args
        data = load_squad(args.train_file or args.dataset_name or self.default_dataset)
        if args.validation_fraction:
            return get_task(args.task).split(data, args.validation_fraction)
        return data, load_squad(args.eval_file) if args.eval_file else None

    def encode(self, data, tokenizer) -> Dataset:
        """Windows with the positions of the answer."""
        return training_features(data, tokenizer, **self._windows)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same windows as the teacher's tokens."""
        return teacher_inputs(teacher_tokenizer, tokenizer, self.data, **self._windows)

    def answers(self, teacher, teacher_tokenizer, tokenizer, student) -> Dataset:
        """Start and end distributions."""
        options = {"temperature": self.training.teacher_temperature, "cache_dir": self.args.teacher_cache_dir}
        return teacher_predictions(teacher, teacher_tokenizer, tokenizer, self.data, **self._windows, **options)

    @property
    def _windows(self) -> dict:
        return {"max_length": self.max_length, "stride": self.args.stride}


class TextClassification(Task):
    """Classes of texts or of pairs, or a real number."""

    model_class, auto_class = DynamicTinyBertForSequenceClassification, AutoModelForSequenceClassification
    max_length = MAX_TEXT_LENGTH

    def load(self) -> tuple[Dataset, Dataset | None]:
        """Texts with their labels as numbers; the validation split is drawn by row."""
        args = self.args
        how = {"label_column": args.label_column}
        data = load_texts(args.train_file or args.dataset_name, args.text_columns, args.dataset_config_name, **how)
        data, self.names = number_labels(data, args.class_names)
        if args.validation_fraction:
            return get_task(args.task).split(data, args.validation_fraction)
        if not args.eval_file:
            return data, None
        validation, names = number_labels(load_texts(args.eval_file, args.text_columns, **how), args.class_names)
        if names is not None and self.names is not None and names != self.names:
            unknown = sorted(set(names) - set(self.names))
            if unknown:
                raise ValueError(
                    f"eval_file has the labels {', '.join(unknown)}, which the training data do not have; they have "
                    f"{', '.join(self.names)}."
                )
            numbers = {name: number for number, name in enumerate(self.names)}
            validation = validation.align_labels_with_mapping(numbers, LABEL)
        return data, validation

    def encode(self, data, tokenizer) -> Dataset:
        """Tokens and labels."""
        return text_features(data, tokenizer, self.args.text_columns, self.max_length)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same texts as the teacher's tokens."""
        return teacher_text_inputs(teacher_tokenizer, tokenizer, self.data, self.args.text_columns, self.max_length)

    def answers(self, teacher, teacher_tokenizer, tokenizer, student) -> Dataset:
        """Logits in the order of the student's labels."""
        columns, labels = self.args.text_columns, student.config.id2label
        kept = {"max_length": self.max_length, "cache_dir": self.args.teacher_cache_dir}
        return teacher_logits(teacher, teacher_tokenizer, tokenizer, self.data, columns, labels, **kept)

    def follow(self, config) -> None:
        """Numbers the labels as a checkpoint that has the same ones does."""
        theirs = [str(name) for _, name in sorted((config.id2label or {}).items())]
        if not self.names or theirs == self.names or generic_names(theirs) or len(theirs) != len(self.names):
            return
        if sorted(name.lower() for name in theirs) == sorted(name.lower() for name in self.names):
            numbers = {name: number for number, name in enumerate(theirs)}
            self.data = self.data.align_labels_with_mapping(numbers, LABEL)
            if self.validation is not None:
                self.validation = self.validation.align_labels_with_mapping(numbers, LABEL)
            self.names = theirs
        else:
            logger.warning(
                f"The checkpoint's classes are {', '.join(theirs)}, the data's {', '.join(self.names)}: its head has to "
                "learn anew."
            )

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
    """Running text without labels: the student learns from a teacher's layers alone."""

    model_class, auto_class, max_length = DynamicTinyBertModel, AutoModel, MAX_TEXT_LENGTH
    has_answers = False

    def load(self) -> tuple[Dataset | IterableDataset, None]:
        """Text of any length."""
        args = self.args
        source = args.train_file or args.dataset_name
        return load_texts(source, args.text_columns, args.dataset_config_name, streaming=args.streaming), None

    def features(self, tokenizer) -> Dataset | IterableDataset:
        """Pieces as long as a window."""
        [column] = self.args.text_columns
        self.data = cut_texts(self.data.select_columns([column]), tokenizer, column, self.max_length)
        if isinstance(self.data, IterableDataset):  # the Trainer does not shuffle a stream
            self.data = self.data.shuffle(self.training.seed, buffer_size=SHUFFLED)
        return self.encode(self.data, tokenizer)

    def encode(self, data, tokenizer) -> Dataset | IterableDataset:
        """Tokens of the pieces."""
        return text_features(data, tokenizer, self.args.text_columns, self.max_length)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same pieces as the teacher's tokens."""
        return teacher_text_inputs(teacher_tokenizer, tokenizer, self.data, self.args.text_columns, self.max_length)


TASKS = {"question-answering": QuestionAnswering, "text-classification": TextClassification, "plain-text": PlainText}


def _spread(data, most: int | None):
    """At most `most` rows, spread over the data; the first rows of a stream."""
    if most and isinstance(data, IterableDataset):
        return data.take(most)
    return spread_over(data, most) if most else data
