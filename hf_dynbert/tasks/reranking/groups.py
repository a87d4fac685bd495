# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Rows of several passages of one query, for losses that compare them."""

import random

from datasets import Dataset

from .scores import relevance_score


QUERY = "query_number"  # column of the features of single passages
LOGITS = "teacher_logits"  # column of a teacher


def group_passages(features: Dataset, size: int, seed: int = 0) -> Dataset:
    """Joins the features of passages into rows of one query each.

    Each row has the query's passage with the highest label (of equal labels, the teacher's highest score) and up to
    `size - 1` others, so that all passages are used once, and the best one in every row of its query.

    Args:
        features (`datasets.Dataset`): `training_features` of task reranking, with columns of a teacher, if there are some.
        size (`int`): most passages of a row.
        seed (`int`, *optional*, defaults to 0): order of the other passages.

    Returns:
        `datasets.Dataset`: the same columns, with a list of the values of each passage; `length` is the longest.

    Raises:
        ValueError: no query has two passages.
    """
    rows: dict[int, list[int]] = {}
    for index, query in enumerate(features[QUERY][:]):
        rows.setdefault(query, []).append(index)
    labels = [label[0] for label in features["labels"]]
    scores = [0.0] * len(labels)
    if LOGITS in features.column_names:
        scores = [relevance_score(logits) for logits in features[LOGITS]]
    rng, groups = random.Random(seed), []
    for indices in rows.values():
        best = max(indices, key=lambda index: (labels[index], scores[index]))
        others = [index for index in indices if index != best]
        rng.shuffle(others)
        groups += [[best, *others[first : first + size - 1]] for first in range(0, len(others), size - 1)]
    if not groups:
        raise ValueError("No query has two judged passages: there is nothing to compare. Leave ranking_loss out.")
    columns = [name for name in features.column_names if name != QUERY]
    values = {name: features[name][:] for name in columns}
    joined = {name: [[values[name][index] for index in group] for group in groups] for name in columns}
    return Dataset.from_dict(joined | {"length": [max(lengths) for lengths in joined["length"]]})
