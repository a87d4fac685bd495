"""`BatchPredictor`: batches as engines pass them, for every task."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification
from hf_dynbert.prediction.predictor import BatchPredictor


TOLERANCE = 1e-5  # batches of other sizes: float sums in another order
TEXTS = ["ada lit the tower", "the ship", "ben wrote the song in 1907 by night", "light"]
BUDGETS = {"half": [0.8, 0.6, 0.5, 0.3]}


@pytest.fixture
def make_folder(sizes, tokenizer, tmp_path):
    """Makes a tiny classifier or reranker."""

    def make(**fields):
        torch.manual_seed(0)
        config = DynamicTinyBertConfig(**sizes, **fields, budgets=BUDGETS, min_tokens_to_drop=0)
        DynamicTinyBertForSequenceClassification(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return str(tmp_path)

    return make


def test_columns_are_carried_and_missing_values_are_defaults(make_folder):
    folder = make_folder(num_labels=3)
    batch = {
        "key": np.array([7, 5, 3, 1]),
        "text": np.array(TEXTS),
        "text_pair": np.array(["by night", None, float("nan"), "the ship"], dtype=object),
        "budget": np.array([None, "full", [0.9, 0.4, 0.4, 0.2], float("nan")], dtype=object),
    }
    found = BatchPredictor(folder, budget="half", batch_size=2)(batch)
    assert list(found) == ["key", "text", "text_pair", "budget", "prediction"]
    assert all(found[name] is batch[name] for name in batch)
    classify = pipeline("text-classification", model=folder)
    budgets = ["half", "full", [0.9, 0.4, 0.4, 0.2], "half"]
    for text, pair, budget, prediction in zip(
        TEXTS, ["by night", "", "", "the ship"], budgets, found["prediction"], strict=True
    ):
        right = classify({"text": text, "text_pair": pair} if pair else {"text": text}, budget=budget)
        assert prediction["label"] == right["label"]
        assert prediction["score"] == pytest.approx(right["score"], abs=TOLERANCE)


def test_top_k_returns_lists(make_folder):
    predictor = BatchPredictor(make_folder(num_labels=3), top_k=1, budget="half")
    assert [len(found) for found in predictor({"text": TEXTS})["prediction"]] == [1, 1, 1, 1]


def test_a_ranking_has_the_deadline_of_its_row(make_folder):
    predictor = BatchPredictor(make_folder(num_labels=1, task="reranking"), budget="half")
    passages = np.empty(2, dtype=object)
    passages[:] = [np.array(TEXTS, dtype=object), np.array(TEXTS[:3], dtype=object)]  # as Arrow's lists become NumPy's
    batch = {
        "query": np.array(["who lit the tower?"] * 2),
        "passages": passages,
        "max_latency_ms": np.array([np.nan, 60000]),
    }
    at_half, in_time = predictor(batch)["prediction"]
    assert ["budget" in found[0] for found in (at_half, in_time)] == [False, True]
    assert {item["budget"] for item in in_time} <= {"full", "half"} and len(in_time) == 3
    rank = pipeline("text-reranking", model=predictor.model, tokenizer=predictor.tokenizer)
    right = {item["index"]: item["score"] for item in rank(query="who lit the tower?", passages=TEXTS, budget="half")}
    assert {item["index"]: item["score"] for item in at_half} == pytest.approx(right, abs=TOLERANCE)


def test_wrong_batches_and_options_are_refused(make_folder):
    folder = make_folder(num_labels=3)
    with pytest.raises(ValueError, match='no budget "medium"'):
        BatchPredictor(folder, budget="medium")
    with pytest.raises(TypeError, match="Unknown option top"):
        BatchPredictor(folder, top=3)
    predictor = BatchPredictor(folder)
    wrong = {
        r"Row 0 of the batch \(columns title\) has text None": {"title": ["ada"]},
        "Row 1 of the batch .* has text ' '": {"text": ["ada", " "]},
        "which both select a budget": {"text": ["ada"], "budget": ["half"], "max_latency_ms": [5]},
        'no budget "medium"': {"text": ["ada"], "budget": ["medium"]},
    }
    for message, batch in wrong.items():
        with pytest.raises(ValueError, match=message):
            predictor(batch)
