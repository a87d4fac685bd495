"""`pipeline("text-reranking")`: orders, budgets, inputs of every kind, and threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, pipeline

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification, TextRerankingPipeline


QUERY = "who lit the tower?"
PASSAGES = ["ada lit the tower by night.", "the ship", "ben wrote the song in 1907", "cleo keeps the light " * 5]
ITEMS = [
    {"query": f"{word} {QUERY}", "passages": PASSAGES[: 2 + number % 3]} for number, word in enumerate("ada ben dan".split())
]


@pytest.fixture
def folder(sizes, tokenizer, tmp_path):
    torch.manual_seed(0)
    config = DynamicTinyBertConfig(**sizes, num_labels=1, budgets={"half": [0.8, 0.6, 0.5, 0.3]}, min_tokens_to_drop=0)
    DynamicTinyBertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def rank(folder):
    return pipeline("text-reranking", model=folder)


def scores_by_hand(folder, tokenizer, query, passages, **call):
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for passage in passages:
        with torch.no_grad():
            scores.append(model(**tokenizer(query, passage, return_tensors="pt"), **call).logits[0, 0].item())
    return scores


@pytest.mark.parametrize("budget", [None, "full", "half", [0.5, 0.5, 0.2, 0.1]])
def test_the_order_is_that_of_the_models_scores(rank, folder, tokenizer, budget):
    call = {} if budget is None else {"budget": budget}
    right = scores_by_hand(folder, tokenizer, QUERY, PASSAGES, **call)
    found = rank(query=QUERY, passages=PASSAGES, **call)
    assert [item["index"] for item in found] == sorted(range(4), key=lambda index: -right[index])
    for item in found:
        assert item["score"] == pytest.approx(right[item["index"]], abs=1e-5)  # padding changes the order of float sums
        assert item["text"] == PASSAGES[item["index"]]
    assert rank(query=QUERY, passages=PASSAGES, top_k=2, **call) == found[:2]
    for size in (1, 3):
        alone = rank(query=QUERY, passages=PASSAGES, batch_size=size, **call)
        assert [item["index"] for item in alone] == [item["index"] for item in found]


def test_two_labels_score_by_their_difference(tokenizer, sizes):
    torch.manual_seed(1)
    model = BertForSequenceClassification(BertConfig(**sizes, num_labels=2)).eval()
    found = pipeline("text-reranking", model=model, tokenizer=tokenizer)(query=QUERY, passages=PASSAGES[:1])
    with torch.no_grad():
        logits = model(**tokenizer(QUERY, PASSAGES[0], return_tensors="pt")).logits[0]
    assert found[0]["score"] == pytest.approx((logits[1] - logits[0]).item(), abs=1e-5)  # float sums in another order


def test_inputs_of_every_kind_give_the_same(rank):
    right = [rank(**item) for item in ITEMS]
    data = Dataset.from_list(ITEMS)
    for items in (ITEMS, tuple(ITEMS), iter(ITEMS), (item for item in ITEMS), data, data.to_iterable_dataset()):
        assert list(rank(items)) == right
    assert (
        rank(ITEMS[0]) == rank(*ITEMS[0].values()) == rank(query=ITEMS[0]["query"], passages=iter(PASSAGES[:2])) == right[0]
    )
    assert rank([]) == []


def test_threads_share_a_pipeline(rank):
    right = [rank(**item) for item in ITEMS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda item: rank(**item), ITEMS * 20)) == right * 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "no dict|Got None"),
        ({"query": QUERY}, "passages is None"),
        ({"passages": PASSAGES}, "query is None"),
        ({"query": QUERY, "passages": []}, "passages is empty"),
        ({"query": QUERY, "passages": "one"}, "must be a list of texts"),
        ({"query": QUERY, "passages": ["ada", None]}, "passage is None"),
        ({"query": " ", "passages": PASSAGES}, "query is ' '"),
        ({"query": "ada " * 200, "passages": PASSAGES}, "no room for a passage"),
        ({"query": QUERY, "passages": PASSAGES, "top_k": 0}, "top_k is 0"),
        ({"query": QUERY, "passages": PASSAGES, "max_length": 10**6}, "max_length is 1000000"),
        ({"query": QUERY, "passages": PASSAGES, "batch_size": 0}, "batch_size is 0"),
        ({"query": QUERY, "passages": PASSAGES, "budget": "quarter"}, "quarter"),
        ({"query": QUERY, "passages": PASSAGES, "budget": "half", "length_config": "half"}, "Valid is one of"),
    ],
)
def test_wrong_calls(rank, call, message):
    with pytest.raises(ValueError, match=message):
        rank(**call)


def test_unknown_options_and_other_models(rank, tokenizer, make_model, sizes):
    with pytest.raises(TypeError, match="nearest valid one is budget"):
        rank(query=QUERY, passages=PASSAGES, budgets="half")
    with pytest.raises(TypeError, match="nearest valid one is passages"):
        rank({"query": QUERY, "passage": PASSAGES})
    with pytest.raises(ValueError, match="is a classifier of pairs"):
        TextRerankingPipeline(model=make_model(), tokenizer=tokenizer)
    with pytest.raises(ValueError, match="has 3 labels"):
        model = BertForSequenceClassification(BertConfig(**sizes, num_labels=3))
        pipeline("text-reranking", model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match="is not length-adaptive"):
        model = BertForSequenceClassification(BertConfig(**sizes, num_labels=1))
        pipeline("text-reranking", model=model, tokenizer=tokenizer)(query=QUERY, passages=PASSAGES, budget="half")
