# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Exact match and F1 as the official SQuAD v1.1 and v2 scripts define them (arXiv 1606.05250, 1806.03822)."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence


ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_metrics(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Scores predicted answers, in percent, over all questions that have a gold entry.

    Args:
        predictions (`dict[str, str]`): question id to predicted text. A question without one scores 0; predictions for
            other questions do not count, as in the official scripts.
        answers (`dict[str, list[str]]`): question id to gold texts; an empty list is a question without answer (v2), to
            which only the empty prediction is right.

    Returns:
        `dict[str, float]`: `exact_match` and `f1`.

    Raises:
        ValueError: there are no questions.
    """
    if not answers:
        raise ValueError("There are no questions to score: answers is empty. Give {question id: [gold text, ...]}.")
    exact = [score_prediction(exact_match, predictions.get(name), golds) for name, golds in answers.items()]
    f1 = [score_prediction(token_f1, predictions.get(name), golds) for name, golds in answers.items()]
    return {"exact_match": sum(exact) / len(answers), "f1": sum(f1) / len(answers)}


def score_prediction(metric: Callable[[str, str], float], prediction: str | None, golds: Sequence[str]) -> float:
    """Score of one answer in percent: the best over the gold texts; 0 without a prediction."""
    golds = [gold for gold in golds if normalize_answer(gold)] or [""]
    return 0.0 if prediction is None else 100 * max(metric(prediction, gold) for gold in golds)


def normalize_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(prediction: str, gold: str) -> float:
    """1 if both are the same once normalised, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def token_f1(prediction: str, gold: str) -> float:
    """F1 of the bags of words once normalised; an empty text matches only an empty text."""
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    common = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * common / (len(predicted) + len(wanted))
