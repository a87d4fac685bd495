"""Files of texts and labels: what is no text, and what is no label of the model, is refused, with row and reason."""

import datetime
import decimal
import json

import numpy as np
import pytest
from datasets import Dataset
from transformers import BertConfig

from hf_dynbert.tasks import QUESTION_ANSWERING, RERANKING, TEXT_CLASSIFICATION, DataOptions


SINGLE = BertConfig(num_labels=3)
MULTI = BertConfig(num_labels=3, problem_type="multi_label_classification")
REGRESSION = BertConfig(num_labels=1)
NOTHING = [None, float("nan"), ""]
WRONG_TEXTS = [None, True, 0, 1.5, float("nan"), "", " ", [], ["x"], {"a": 1}, "\ud800"]
WRONG_LABELS = {
    "single": (SINGLE, [*NOTHING, 7, -1, 1.5, float("inf"), 10**30, " ", "x", [], [1], {"a": 1}, "\ud800"]),
    "multi": (MULTI, [*NOTHING, 1, 1.5, float("inf"), "LABEL_1", [None], [2, 0, 0], [0, 1], ["x"], {"a": 1}, [[1]]]),
    "regression": (REGRESSION, [*NOTHING, True, float("inf"), "x", "1", [], [1.0], {"a": 1}]),
}


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def evaluator(tokenizer, config, *sources, **options):
    options = DataOptions(**options)
    return TEXT_CLASSIFICATION.evaluator(tokenizer, TEXT_CLASSIFICATION.load(sources, options), config, options)


@pytest.mark.parametrize("value", WRONG_TEXTS, ids=repr)
def test_what_is_no_text_is_refused(tmp_path, value):
    path = write(tmp_path / "x.jsonl", [{"text": value, "label": 1}])
    with pytest.raises(ValueError) as caught:
        TEXT_CLASSIFICATION.load([path], DataOptions())
    assert type(caught.value) is ValueError and path in str(caught.value)


@pytest.mark.parametrize(
    ("config", "value"),
    [
        pytest.param(config, value, id=f"{name}-{value!r:.20}")
        for name, (config, values) in WRONG_LABELS.items()
        for value in values
    ],
)
def test_what_is_no_label_is_refused(tokenizer, tmp_path, config, value):
    path = write(tmp_path / "x.jsonl", [{"text": "ada wrote", "label": value}])
    with pytest.raises(ValueError) as caught:
        evaluator(tokenizer, config, path)
    assert type(caught.value) is ValueError and ("label" in str(caught.value) or path in str(caught.value))


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        (SINGLE, [0, 1, 2]),
        (SINGLE, ["LABEL_2", "label_0", "LABEL_1"]),
        (SINGLE, [0.0, 1.0, 2.0]),
        (MULTI, [[0, 1, 0], [1, 1, 1], [0, 0, 0]]),
        (MULTI, [["LABEL_1"], [], ["LABEL_0", "LABEL_2"]]),
        (REGRESSION, [1, 2, 5]),
        (REGRESSION, [0.5, -1.5, 5.0]),
    ],
)
def test_labels_are_read(tokenizer, tmp_path, config, labels):
    path = write(tmp_path / "x.jsonl", [{"text": "ada wrote", "label": label} for label in labels])
    assert len(evaluator(tokenizer, config, path).lengths) == len(labels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,label\nhi,1\n,2\n", "row 1 has None in column text"),
        ("x.csv", "text,label\nhi,\nx,2\n", "row 0 has no label (1 of 2 rows)"),
        ("x.csv", "review,sentiment,stars\nhi,1,2\n", "it has review, sentiment, stars"),
        ("x.csv", "text\nhi\n", "has no column label; it has text"),
        ("x.csv", "", "the file is empty"),
        ("x.csv", "text,label\n", "x.csv"),
        ("x.csv", 'text,label\n"hi,1\n', "cannot be read as .csv"),
        ("x.csv", "\xff\xfe", "cannot be read as .csv"),
        ("x.csv", "text,label\nhi, you,pos\nwell, yes,neg\n", "more cells than there are columns"),  # the first was an index
        ("x.tsv", "text\tlabel\nhi\tyou\t1\n", "more cells than there are columns"),
        ("x.jsonl", '{"text": ' + "[" * 2000 + "]" * 2000 + ', "label": 1}\n', "nested too deeply"),
        ("x.csv.gz", "nonsense", "x.csv.gz: valid are"),
        ("x.tsv", "text,label\nhi,1\n", "it has text,label"),
        ("x.jsonl", '{"text": "x", "la', "cannot be read as .jsonl"),
        ("x.jsonl", "null\n", "each row must be an object"),
        ("x.jsonl", "[1, 2]\n", "each row must be an object"),
        ("x.json", '"text"', "each row must be an object"),
        ("x.json", '{"data": [{"title": "t", "paragraphs": []}]}', "task question-answering"),
        ("x.parquet", "nonsense", "cannot be read as .parquet"),
        ("x.docx", "nonsense", "x.docx"),
    ],
)
def test_hostile_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="latin-1")
    with pytest.raises((ValueError, OSError)) as caught:
        TEXT_CLASSIFICATION.load([str(path)], DataOptions())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("x.csv", "\ufefftext,label\r\nhi,1\r\n", {}),
        ("x.tsv", "text\tlabel\nhi\t1\n", {}),
        ("x.json", '[{"text": "hi", "label": 1}]', {}),
        ("x.jsonl", '\n{"text": "hi", "label": 1}\n', {}),
        ("x.csv", "review,sentiment\nhi,1\n", {"text_columns": ("review",), "label_column": "sentiment"}),
    ],
)
def test_other_forms_are_read(tokenizer, tmp_path, name, content, options):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert evaluator(tokenizer, SINGLE, str(tmp_path / name), **options).lengths == [4]  # CLS, two letters, SEP


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([2**62, 1], "valid are 0 to 99999"),  # a class for each number took all memory
        ([1_700_000_000], "valid are 0 to 99999"),
        ([-1], "valid are 0 to 1"),
        ([1, "x"], "Labels are of the types int, str"),
        ([datetime.date(2020, 1, 1)], "Labels are of the types date"),
        ([decimal.Decimal("1.5")], "Labels are of the types Decimal"),
    ],
)
def test_labels_that_number_no_classes_are_refused(tmp_path, labels, message):
    path = tmp_path / "x.jsonl"
    if any(isinstance(label, str | int) for label in labels):
        write(path, [{"text": "hi", "label": label} for label in labels])
    else:
        path = path.with_suffix(".parquet")
        Dataset.from_dict({"text": ["hi"] * len(labels), "label": labels}).to_parquet(path)
    data = TEXT_CLASSIFICATION.load([str(path)], DataOptions())
    with pytest.raises(ValueError, match=message):
        TEXT_CLASSIFICATION.number_labels(data)


def test_one_class_is_no_regression(tokenizer, tmp_path):
    """The mean of one label is the label: its F1 and average precision, and not correlations."""
    one = BertConfig(num_labels=1, problem_type="multi_label_classification")
    marks = [1, 0, 1, 1]
    for labels in (marks, [[mark] for mark in marks], [["LABEL_0"] * mark for mark in marks]):
        path = write(tmp_path / "x.jsonl", [{"text": "hi", "label": label} for label in labels])
        outputs = [{"logits": np.array([value])} for value in (2.0, 1.0, 0.5, -1.0)]
        scores = evaluator(tokenizer, one, path).score(outputs)
        # two of three predictions are right, and two of three labels found; precisions at the labels' ranks 1, 3 and 4
        expected = {"accuracy": 50.0, "f1_macro": 200 / 3, "average_precision": 100 * (1 + 2 / 3 + 3 / 4) / 3}
        assert scores.metrics == pytest.approx(expected)


DEEP_READERS = {
    "texts": lambda path: TEXT_CLASSIFICATION.load([path], DataOptions()),
    "rankings": lambda path: RERANKING.load([path], DataOptions()),
    "questions": lambda path: QUESTION_ANSWERING.load([path], DataOptions()),
}


@pytest.mark.parametrize("reader", DEEP_READERS)
@pytest.mark.parametrize("levels", [10_000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), ["[]", ('{"a":', "}")])
def test_deep_lines_are_refused(tmp_path, reader, levels, opened, closed):
    """Arrow reads some of them in hours."""
    row = {"text": "hi", "label": 1, "id": "1", "context": "ada", "question": "who?", "positives": ["ada"]}
    row["answers"] = {"text": ["ada"], "answer_start": [0]}
    deep = json.dumps(row | {"more": "DEEP"}).replace('"DEEP"', opened * levels + "0" + closed * levels)
    (tmp_path / "deep.jsonl").write_text(f"{json.dumps(row)}\n{deep}\n")
    with pytest.raises(ValueError, match="deep.jsonl, line 2 is nested too deeply"):
        DEEP_READERS[reader](str(tmp_path / "deep.jsonl"))


@pytest.mark.parametrize("columns", [(), ("label",), ("text", "text"), ("text", "a", "b")])
def test_impossible_columns_are_refused(tmp_path, columns):
    path = write(tmp_path / "x.jsonl", [{"text": "hi", "a": "x", "b": "y", "label": 1}])
    with pytest.raises(ValueError, match="valid are one column of texts, or two that make a pair"):
        TEXT_CLASSIFICATION.load([path], DataOptions(text_columns=columns))
