"""Inputs without labels, a model's own answers to them, and the agreement with these answers."""

import json

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from hf_dynbert import DynamicTinyBertForSequenceClassification
from hf_dynbert.adaptation.agreement import AgreementTask
from hf_dynbert.tasks import DataOptions, get_task


WORDS = "ada ben cleo dan wrote built lit keeps the a light house tower song ship by".split()
SMALL = [0.6, 0.4, 0.3, 0.1]


def text(number, length):
    return " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(length))


TEXTS = [{"text": text(number, 20 + number % 30)} for number in range(24)]
ROWS = {
    "text-classification": TEXTS,
    "question-answering": [{"question": text(n, 4), "context": text(n + 1, 30)} for n in range(24)],
    "reranking": [{"query": text(n, 3), "passages": [text(n + m, 20 + m) for m in range(4)]} for n in range(24)],
}
HEADS = {
    "classes": {"num_labels": 3},
    "named": {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}},
    "sets": {"num_labels": 4, "problem_type": "multi_label_classification"},
    "number": {"num_labels": 1},
    "two": {"num_labels": 2},
}


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return [str(path)]


@pytest.mark.parametrize(
    ("name", "head"),
    [("question-answering", None), ("reranking", "number"), ("reranking", "two")]
    + [("text-classification", head) for head in ("classes", "named", "sets", "number")],
)
def test_a_model_agrees_with_itself(name, head, make_model, sizes, tokenizer, tmp_path):
    if name == "reranking":
        pytest.importorskip("pytrec_eval", reason="needs the ranking extra")
    model = make_model()
    if head is not None:
        torch.manual_seed(4)
        model = BertForSequenceClassification(BertConfig(**sizes, **HEADS[head]))
        model = DynamicTinyBertForSequenceClassification.from_backbone(model, min_tokens_to_drop=0)
    task, options = get_task(name), DataOptions(max_length=120, stride=8)
    rows = task.load_unlabelled(write(tmp_path / "inputs.jsonl", ROWS[name]), options, model.config)
    predictions = task.evaluator(tokenizer, rows, model.config, options).evaluate(model, "full").predictions
    answers = write(tmp_path / "answers.jsonl", task.with_predictions(rows, predictions))
    agreement = AgreementTask(task)
    evaluator = agreement.evaluator(tokenizer, agreement.load(answers, options), model.config, options)
    assert evaluator.primary_metric == "agreement" and evaluator(model, "full") == {"agreement": pytest.approx(100)}
    smaller = evaluator.evaluate(model, SMALL)
    assert smaller.metrics["agreement"] < 99  # this untrained model depends on every token
    assert smaller.metrics["agreement"] == pytest.approx(smaller.per_example.mean())


@pytest.mark.parametrize("name", ROWS)
def test_labels_of_a_file_are_not_used(name, make_model, tmp_path):
    labels = {
        "text-classification": {"label": "surely none of the model's"},
        "question-answering": {"answers": {"text": [""], "answer_start": [-9]}, "id": "x"},
        "reranking": {"scores": [1, 2, 3, 4]},
    }[name]
    task, config = get_task(name), make_model().config
    if name == "reranking":
        config.num_labels = 1
    labelled = [row | labels for row in ROWS[name]]
    read = [
        task.load_unlabelled(write(tmp_path / f"{number}.jsonl", rows), DataOptions(), config).to_list()
        for number, rows in enumerate((ROWS[name], labelled))
    ]
    assert read[0] == read[1] and len(read[0]) == 24


def test_pairs_and_tables(make_model, tmp_path):
    config = make_model().config
    file = tmp_path / "pairs.csv"
    file.write_text("query,passage\n" + "\n".join(f"{text(n // 2, 3)},{text(n, 9)}" for n in range(12)))
    options = DataOptions(text_columns=("query", "passage"))
    pairs = get_task("text-classification").load_unlabelled([str(file)], options, config)
    assert len(pairs) == 12 and set(pairs.column_names) == {"query", "passage", "label"}
    config.num_labels = 1
    queries = get_task("reranking").load_unlabelled([str(file)], options, config)
    assert [len(passages) for passages in queries["passages"]] == [2] * 6
    lines = tmp_path / "texts.txt"
    lines.write_text("ada wrote the song\nben lit the tower\n")
    assert (
        get_task("text-classification").load_unlabelled([str(lines)], DataOptions(), config)["text"][1]
        == "ben lit the tower"
    )


def test_a_ranking_needs_two_passages_and_uses_the_first_sixteen(make_model, tmp_path):
    task, config = get_task("reranking"), make_model().config
    config.num_labels = 1
    rows = [{"query": "ada", "passages": ["one"]}, {"query": "ben", "passages": [text(n, 5 + n) for n in range(20)]}]
    queries = task.load_unlabelled(write(tmp_path / "both.jsonl", rows), DataOptions(), config)
    assert queries["query"][:] == ["ben"] and len(queries["passages"][0]) == 16
    with pytest.raises(ValueError, match="one.jsonl: no query has two passages"):
        task.load_unlabelled(write(tmp_path / "one.jsonl", rows[:1]), DataOptions(), config)
