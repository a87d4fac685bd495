# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Pairs of a query and a passage as inputs of a model, and its outputs as scores of relevance."""

from collections.abc import Sequence

import numpy as np


MAX_LENGTH = 256  # tokens of a query with its passage: MS MARCO's passages have about 80, few have more than 200


def encode_pairs(
    tokenizer, queries: Sequence[str], passages: Sequence[Sequence[str]], max_length: int
) -> list[dict[str, list[int]]]:
    """Tokens of each query with each of its passages. A passage that is too long loses its end.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the model.
        queries (`list[str]`): the queries.
        passages (`list[list[str]]`): passages of each query.
        max_length (`int`): most tokens of a query with a passage.

    Raises:
        ValueError: a query that leaves no room for a passage.
    """
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    lengths = [len(ids) for ids in tokenizer(list(queries), add_special_tokens=False)["input_ids"]]
    for query, length in zip(queries, lengths, strict=True):
        if length + specials >= max_length:
            raise ValueError(
                f"The query {query!r:.60} has {length} tokens; with max_length={max_length} there is no room for a passage."
            )
    firsts = [query for query, group in zip(queries, passages, strict=True) for _ in group]
    seconds = [passage for group in passages for passage in group]
    encoding = tokenizer(firsts, seconds, truncation="only_second", max_length=max_length)
    return [{name: encoding[name][row] for name in encoding} for row in range(len(firsts))]


def relevance_score(logits: np.ndarray) -> float:
    """The score of a passage: the logit of one label, or the difference of the logits of two."""
    return float(logits[0] if len(logits) == 1 else logits[1] - logits[0])


def check_labels(labels: int) -> None:
    """Refuses a classifier that is no reranker, by its number of labels."""
    if labels > 2:
        raise ValueError(f"The model has {labels} labels; a reranker has one (the score) or two (not relevant, relevant).")
