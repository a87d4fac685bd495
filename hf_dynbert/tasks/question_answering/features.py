# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Questions and contexts as the windows that a span model reads; characters stay traceable."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...utils.defaults import MAX_LENGTH, STRIDE
from .squad import check_rows


MAX_QUESTION_LENGTH = 64  # as BERT on SQuAD (arXiv 1810.04805)


# Of these architectures positions count from the row after that of padding
COUNTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "longformer")


@dataclass(frozen=True)
class Window:
    """One window on a question's context.

    Args:
        inputs (`dict[str, list[int]]`): what the model takes: `input_ids`, `attention_mask` and, where the tokenizer makes
            them, `token_type_ids`.
        offsets (`np.ndarray` of shape `(L, 2)`): each token's characters in the context, from and up to.
        in_context (`np.ndarray` of shape `(L,)`, boolean): tokens that can be an answer.
        example (`int`): which question of the batch.
    """

    inputs: dict[str, list[int]]
    offsets: np.ndarray
    in_context: np.ndarray
    example: int


def max_tokens_of(config) -> int | None:
    """The most tokens of a text that a model with this configuration reads; `None` where its positions set no limit.

    Args:
        config (`PreTrainedConfig`): of any architecture.
    """
    if hasattr(config, "check_inputs"):  # ours; also where its code came with a repository
        return config.max_tokens
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1 or not getattr(config, "position_biased_input", True):  # DeBERTa
        return None
    if config.model_type in COUNTED_POSITIONS and config.pad_token_id is not None:
        return positions - config.pad_token_id - 1
    return positions


def check_max_length(config, max_length: int, option: str = "max_length", default: int = MAX_LENGTH) -> None:
    """Refuses windows that are larger than what a model reads.

    The default is not refused, since short texts make short windows of it: see `check_lengths`.

    Args:
        config (`PreTrainedConfig`): of the model, of any architecture.
        max_length (`int`): tokens of a window.
        option (`str`, *optional*): its name in the error.
        default (`int`, *optional*): what the option is where nobody sets it.

    Raises:
        ValueError: the model reads fewer tokens.
    """
    most = max_tokens_of(config)
    if most is not None and max_length > most and max_length != default:
        raise ValueError(f"{option} is {max_length}; this model reads {most} tokens. Valid is {option}={most} or less.")


def check_lengths(config, lengths: Iterable[int], option: str = "max_length") -> None:
    """Refuses tokenized texts that are longer than what a model reads.

    Args:
        config (`PreTrainedConfig`): of the model, of any architecture.
        lengths (iterable of `int`): tokens of each text.
        option (`str`, *optional*): the option that makes texts shorter.

    Raises:
        ValueError: the model reads fewer tokens.
    """
    most, longest = max_tokens_of(config), max(lengths, default=0)
    if most is not None and longest > most:
        raise ValueError(f"{longest} tokens; this model reads {most}. Make windows shorter: {option}={most} or less.")


def encode_windows(
    tokenizer,
    questions: list[str],
    contexts: list[str],
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
    whole_words: bool = False,
) -> list[Window]:
    """Cuts questions with their contexts into windows.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): makes the tokens and their offsets.
        questions (`list[str]`): one a context; longer ones lose their end.
        contexts (`list[str]`): of any length.
        max_length (`int`, *optional*): most tokens of a window.
        stride (`int`, *optional*): tokens that neighbouring windows of a context share.
        max_question_length (`int`, *optional*): most tokens of a question.
        whole_words (`bool`, *optional*): whether offsets are those of the whole word that a token belongs to.

    Returns:
        `list[Window]`: at least one a question, in order.

    Raises:
        ValueError: a slow tokenizer, or a window too small for question, stride and one token more.
    """
    encoding = _encode(tokenizer, questions, contexts, max_length, stride, max_question_length)
    return [_window(encoding, index, whole_words) for index in range(len(encoding["input_ids"]))]


def training_features(
    data: Dataset,
    tokenizer,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
) -> Dataset:
    """Makes the features that a Trainer takes; a window without the answer points at CLS.

    Args:
        data (`datasets.Dataset`): rows as `load_squad` returns them, or `load_dataset("rajpurkar/squad")`.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        max_length, stride, max_question_length: see `encode_windows`.

    Returns:
        `datasets.Dataset`: the model's inputs with `start_positions`, `end_positions`, and `length` for
        `train_sampling_strategy="group_by_length"`.

    Raises:
        ValueError: no rows, missing columns, or answers that do not stand where they say.
    """
    if len(data) == 0:
        raise ValueError("There is nothing to train on: the data set is empty.")
    check_rows(data)

    def features(batch: dict) -> dict:
        encoding = _encode(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length)
        columns = {name: encoding[name] for name in tokenizer.model_input_names}
        spans = [
            _span(_window(encoding, index), batch["answers"][example])
            for index, example in enumerate(encoding["overflow_to_sample_mapping"])
        ]
        return columns | {
            "start_positions": [start for start, _ in spans],
            "end_positions": [end for _, end in spans],
            "length": [len(ids) for ids in encoding["input_ids"]],
        }

    return data.map(features, batched=True, remove_columns=data.column_names, desc="Features")


def _encode(tokenizer, questions, contexts, max_length, stride, max_question_length):
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer and cannot tell which characters a token stands for; load it "
            "with AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    special = tokenizer.num_special_tokens_to_add(pair=True)
    needed = max_question_length + special + stride + 1
    if max_length < needed:
        raise ValueError(
            f"A window of {max_length} tokens has no room for a question of {max_question_length}, {special} special "
            f"tokens and a stride of {stride}: it must have at least {needed}, or question or stride must be shorter."
        )
    return tokenizer(
        shorten(tokenizer, questions, max_question_length),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def shorten(tokenizer, questions: list[str], most: int) -> list[str]:
    """Questions without leading blanks and without what is over `most` tokens of this tokenizer."""
    questions = [question.lstrip() for question in questions]
    offsets = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return [
        question[: spans[most - 1][1]] if len(spans) > most else question
        for question, spans in zip(questions, offsets, strict=True)
    ]


def _window(encoding, index: int, whole_words: bool = False) -> Window:
    tokens = encoding.encodings[index]
    offsets = np.array(tokens.offsets, dtype=np.int64).reshape(-1, 2)
    in_context = np.array([sequence == 1 for sequence in tokens.sequence_ids])
    if whole_words:
        for token in np.flatnonzero(in_context):
            offsets[token] = tokens.word_to_chars(tokens.word_ids[token], 1)
    in_context &= offsets[:, 1] > offsets[:, 0]
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoding]
    inputs = {name: encoding[name][index] for name in names}
    return Window(inputs, offsets, in_context, encoding["overflow_to_sample_mapping"][index])


def _span(window: Window, answers: dict) -> tuple[int, int]:
    """First and last token of the first answer; CLS twice if it is not (wholly) in the window."""
    context = np.flatnonzero(window.in_context)
    if not answers["text"] or not len(context):
        return 0, 0
    first, last = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
    starts, ends = window.offsets[context, 0], window.offsets[context, 1]
    if starts[0] > first or ends[-1] < last:
        return 0, 0
    start = context[np.flatnonzero(ends > first)[0]]  # the tokenizer may have left out an answer's first or last characters
    end = context[np.flatnonzero(starts < last)[-1]]
    return int(start), int(max(start, end))
