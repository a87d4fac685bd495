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
from transformers.utils import logging

from ..modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)
from ..tasks.question_answering.features import MAX_LENGTH, training_features
from ..tasks.question_answering.squad import load_squad, split_by_article, spread_over
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
from ..training.teachers.cache import tokenizer_parts
from ..training.teachers.predictions import (
    readable_tokens,
    teacher_inputs,
    teacher_logits,
    teacher_predictions,
    teacher_text_inputs,
)
from .arguments import DataArguments
from .augmentation import WordSubstitution, augment


SHUFFLED = 10_000  # pieces of a stream that are mixed: a few thousand articles, so that a batch is not of one

logger = logging.get_logger(__name__)


class Task(ABC):
    """One task of a recipe, on its data.

    Args:
        data_args ([`DataArguments`]): which data.
        args ([`DistillationArguments`]): its seed and device, and what is learned.

    Attributes:
        model_class, auto_class: of the student, and of what stays as it is.
        has_answers (`bool`): whether models have a head for it.
        default_dataset (`str`, *optional*): on the Hub, where no data is named.
        data (`datasets.Dataset`): the rows.
    """

    model_class: type[PreTrainedModel]
    auto_class: type
    max_length: int
    has_answers = True
    default_dataset: str | None = None

    def __init__(self, data_args: DataArguments, args: DistillationArguments):
        self.args, self.training = data_args, args
        self.max_length = data_args.max_length or self.max_length
        self.data = _spread(self.load(), data_args.max_train_samples)
        if data_args.augmentation_model_name_or_path:
            self.data = augment(self.data, self.free_columns, self._substitution(), data_args.teacher_cache_dir)

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

    def answers(self, teacher, teacher_tokenizer, tokenizer, student) -> Dataset | None:
        """What a teacher answers, if it has a task."""
        return None

    def config(self) -> dict:
        """What the data says of a model's configuration."""
        return {}

    def with_teacher(self, features, teacher, source: str, tokenizer, student):
        """The features with what the objective needs of a teacher beside them: its tokens, its answers, or both."""
        args, teacher_tokenizer, columns = self.training, AutoTokenizer.from_pretrained(source), [features]
        teacher_tokenizer.model_max_length = readable_tokens(teacher, teacher_tokenizer)
        if args.learns_layers and tokenizer_parts(teacher_tokenizer) != tokenizer_parts(tokenizer):
            columns.append(self.inputs(teacher_tokenizer, tokenizer))
        if args.learns_answers:
            columns.append(self.answers(teacher, teacher_tokenizer, tokenizer, student))
        return concatenate_datasets([column for column in columns if column is not None], axis=1)

    def follow(self, config) -> None:
        """Lets a head that knows the task keep its meaning, whatever the order of the data's labels."""
        return

    def _substitution(self) -> WordSubstitution:
        args = self.args
        source = args.augmentation_model_name_or_path
        model = AutoModelForMaskedLM.from_pretrained(source, dtype="float32").to(self.training.device)
        tokenizer = AutoTokenizer.from_pretrained(source)
        return WordSubstitution(model, tokenizer, copies=args.augmentation_copies, seed=self.training.seed)


class QuestionAnswering(Task):
    """Spans of contexts."""

    model_class, auto_class, max_length = DynamicTinyBertForQuestionAnswering, AutoModelForQuestionAnswering, MAX_LENGTH
    default_dataset = "rajpurkar/squad"

    def load(self) -> Dataset:
        """Questions with their contexts, without the articles that are held out."""
        data = load_squad(self.args.train_file or self.args.dataset_name or self.default_dataset)
        return split_by_article(data, self.args.held_out)[0] if self.args.held_out else data

    def features(self, tokenizer) -> Dataset:
        """Windows with the positions of the answer."""
        return training_features(self.data, tokenizer, **self._windows)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same windows as the teacher's tokens."""
        return teacher_inputs(teacher_tokenizer, tokenizer, self.data, **self._windows)

    def answers(self, teacher, teacher_tokenizer, tokenizer, student) -> Dataset:
        """Start and end distributions."""
        options = {"temperature": self.training.teacher_temperature, "cache_dir": self.args.teacher_cache_dir}
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
            self.data = self.data.align_labels_with_mapping({name: number for number, name in enumerate(theirs)}, LABEL)
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
    """Running text without labels: all that is learned is in a teacher's layers."""

    model_class, auto_class, max_length = DynamicTinyBertModel, AutoModel, MAX_TEXT_LENGTH
    has_answers = False

    def load(self) -> Dataset | IterableDataset:
        """Text of any length."""
        args = self.args
        source = args.train_file or args.dataset_name
        return load_texts(source, args.text_columns, args.dataset_config_name, streaming=args.streaming)

    def features(self, tokenizer) -> Dataset | IterableDataset:
        """Pieces as long as a window."""
        [column] = self.args.text_columns
        self.data = cut_texts(self.data.select_columns([column]), tokenizer, column, self.max_length)
        if isinstance(self.data, IterableDataset):  # which the Trainer does not shuffle
            self.data = self.data.shuffle(self.training.seed, buffer_size=SHUFFLED)
        return text_features(self.data, tokenizer, [column], self.max_length)

    def inputs(self, teacher_tokenizer, tokenizer) -> Dataset:
        """The same pieces as the teacher's tokens."""
        return teacher_text_inputs(teacher_tokenizer, tokenizer, self.data, self.args.text_columns, self.max_length)


TASKS = {"question-answering": QuestionAnswering, "text-classification": TextClassification, "plain-text": PlainText}


def _spread(data, most: int | None):
    """So many rows, spread over the data; of a stream the first."""
    if most and isinstance(data, IterableDataset):
        return data.take(most)
    return spread_over(data, most) if most else data
