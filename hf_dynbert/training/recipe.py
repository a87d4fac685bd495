# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One recipe run: from a checkpoint and SQuAD-shaped questions to a length-adaptive model in a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, concatenate_datasets
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PreTrainedModel,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from ..folders import replace_files
from ..modeling_dynamic_tinybert import DynamicTinyBertForQuestionAnswering
from ..question_answering.features import MAX_LENGTH, STRIDE, training_features
from ..question_answering.squad import load_squad, split_by_article
from .arguments import DistillationArguments
from .collator import DistillationCollator
from .teachers import teacher_inputs, teacher_predictions
from .trainer import DistillationTrainer


@dataclass
class ModelArguments:
    """The model that a recipe starts from.

    Args:
        model_name_or_path (`str`): folder or Hub id of a BERT, RoBERTa, DistilBERT or DynamicTinyBert checkpoint.
        length_adaptive (`bool`): whether it becomes a DynamicTinyBert; `False` fine-tunes a model of any architecture that
            `AutoModelForQuestionAnswering` knows as what it is, for example a teacher (with `length_drop=False`).
        teacher_model_name_or_path (`str`): folder or Hub id of a model for question answering of any architecture and with
            any tokenizer, whose answers to the training questions are learned too, see `teacher_predictions`.
        protect_first_segment, protect_first_segment_until, dropped_logits, importance_match, importance_match_until,
            importance_windows, budgets: see [`DynamicTinyBertConfig`]; budgets as JSON.
        hidden_dropout_prob, attention_probs_dropout_prob (`float`): as in training; unset, the checkpoint's own.
        attn_implementation (`str`): attention in training; eager is the faster one on CPUs when gradients are needed.
    """

    model_name_or_path: str = field(metadata={"help": "Folder or Hub id to start from."})
    length_adaptive: bool = field(default=True, metadata={"help": "Make a DynamicTinyBert of it; false: as it is."})
    teacher_model_name_or_path: str | None = field(default=None, metadata={"help": "Folder or Hub id of a teacher."})
    protect_first_segment: bool = field(default=True, metadata={"help": "Drop the question last."})
    protect_first_segment_until: int | None = field(default=None, metadata={"help": "Layers that do; none: all."})
    dropped_logits: str = field(default="restore", metadata={"help": "What a dropped token answers: restore or mask."})
    importance_match: int | None = field(default=None, metadata={"help": "Dimensions of the match with the question."})
    importance_match_until: int | None = field(default=None, metadata={"help": "Layers that match; none: all."})
    importance_windows: list[int] | None = field(
        default=None, metadata={"help": "Tokens on each side searched for matches."}
    )
    budgets: str | None = field(default=None, metadata={"help": "Named length configurations, JSON."})
    hidden_dropout_prob: float | None = field(default=None, metadata={"help": "Dropout in training."})
    attention_probs_dropout_prob: float | None = field(default=None, metadata={"help": "Attention dropout in training."})
    attn_implementation: str | None = field(default=None, metadata={"help": "Attention kernel in training."})


@dataclass
class DataArguments:
    """The questions that a recipe trains on.

    Args:
        train_file (`list[str]`): SQuAD files; unset, `dataset_name` is used.
        dataset_name (`str`): data set on the Hub.
        max_train_samples (`int`): use so many questions, spread over the data.
        held_out (`float`): part of the questions, whole articles, that training does not see.
        max_length, stride (`int`): windows, see `encode_windows`.
        teacher_cache_dir (`str`): where a teacher's answers are kept for the next student; with the other caches of
            `datasets` when not given.
    """

    train_file: list[str] | None = field(default=None, metadata={"help": "SQuAD files to train on."})
    dataset_name: str = field(default="rajpurkar/squad", metadata={"help": "Data set on the Hub."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many questions."})
    held_out: float = field(default=0.0, metadata={"help": "Part of the questions to hold out, by article."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    teacher_cache_dir: str | None = field(default=None, metadata={"help": "Where a teacher's answers are kept."})


def run_recipe(model_args: ModelArguments, data_args: DataArguments, args: DistillationArguments) -> Path:
    """Trains, resuming from the last checkpoint in `args.output_dir` if there is one, and saves model and tokenizer there.

    Args:
        model_args ([`ModelArguments`]): where to start.
        data_args ([`DataArguments`]): what to learn from.
        args ([`DistillationArguments`]): how.

    Returns:
        `Path`: the folder with the model.

    Raises:
        ValueError: bad data, an unsupported checkpoint or impossible budgets; before any training.
    """
    set_seed(args.seed)  # before the model: what is new in it is random
    model = load_model(model_args, args)
    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    data = load_training_data(data_args)
    features = training_features(data, tokenizer, data_args.max_length, data_args.stride)
    teacher = None
    if model_args.teacher_model_name_or_path:
        teacher = AutoModelForQuestionAnswering.from_pretrained(model_args.teacher_model_name_or_path, dtype="float32")
        features = add_teacher(features, teacher.to(args.device), tokenizer, data, model_args, data_args, args)
    trainer = DistillationTrainer(
        model,
        args,
        teacher=teacher if args.learns_layers else None,
        train_dataset=features,
        data_collator=DistillationCollator(tokenizer),
        processing_class=tokenizer,
    )
    output = Path(args.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)) if output.is_dir() else None)
    if trainer.is_world_process_zero():
        with replace_files(output) as folder:
            trainer.save_model(str(folder))
    trainer.accelerator.wait_for_everyone()
    return output


def load_model(model_args: ModelArguments, args: DistillationArguments) -> PreTrainedModel:
    """The model that a recipe starts from, converted if it is of another supported architecture."""
    source = model_args.model_name_or_path
    dropout = {
        "hidden_dropout_prob": model_args.hidden_dropout_prob,
        "attention_probs_dropout_prob": model_args.attention_probs_dropout_prob,
    }
    if not model_args.length_adaptive:
        return _load_as_it_is(source, _given(dropout), model_args, args)
    overrides = dropout | {
        "importance": args.importance,
        "protect_first_segment": model_args.protect_first_segment,
        "protect_first_segment_until": model_args.protect_first_segment_until,
        "dropped_logits": model_args.dropped_logits,
        "importance_match": model_args.importance_match,
        "importance_match_until": model_args.importance_match_until,
        "importance_windows": model_args.importance_windows,
        "budgets": json.loads(model_args.budgets) if model_args.budgets else None,
    }
    overrides = _given(overrides)
    model_class = DynamicTinyBertForQuestionAnswering
    if AutoConfig.from_pretrained(source).model_type in ("bert", model_class.config_class.model_type):
        model = model_class.from_pretrained(source, dtype="float32", **overrides)
    else:
        model = model_class.from_backbone(source, **overrides).float()
    if model_args.attn_implementation:
        model.set_attn_implementation(model_args.attn_implementation)
    return model


def add_teacher(
    features: Dataset,
    teacher: PreTrainedModel,
    tokenizer,
    data: Dataset,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: DistillationArguments,
) -> Dataset:
    """The features with what the objective needs of a teacher beside them: its answers, its tokens, or both."""
    teacher_tokenizer, columns = AutoTokenizer.from_pretrained(model_args.teacher_model_name_or_path), [features]
    windows = {"max_length": data_args.max_length, "stride": data_args.stride}
    if args.learns_layers:
        columns.append(teacher_inputs(teacher_tokenizer, tokenizer, data, **windows))
    if args.prediction_weight:
        answers = {"temperature": args.teacher_temperature, "cache_dir": data_args.teacher_cache_dir}
        columns.append(teacher_predictions(teacher, teacher_tokenizer, tokenizer, data, **windows, **answers))
    return concatenate_datasets(columns, axis=1)


def _load_as_it_is(source: str, overrides: dict, model_args: ModelArguments, args: DistillationArguments) -> PreTrainedModel:
    if args.length_drop:
        raise ValueError("length_drop=True trains token dropping, which length_adaptive=False cannot; use length_drop=False")
    if model_args.attn_implementation:
        overrides = overrides | {"attn_implementation": model_args.attn_implementation}
    return AutoModelForQuestionAnswering.from_pretrained(source, dtype="float32", **overrides)


def _given(options: dict) -> dict:
    return {name: value for name, value in options.items() if value is not None}


def load_training_data(data_args: DataArguments) -> Dataset:
    """The questions to train on, without those held out."""
    data = load_squad(data_args.train_file or data_args.dataset_name)
    if data_args.held_out:
        data, _ = split_by_article(data, data_args.held_out)
    most = data_args.max_train_samples
    if most and most < len(data):
        data = data.select([index * len(data) // most for index in range(most)])
    return data
