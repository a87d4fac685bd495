"""Reranking: data of every form, metrics against their formulas, and the verbs."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification, convert
from hf_dynbert.commands import main as cli
from hf_dynbert.tasks import RERANKING, DataOptions
from hf_dynbert.tasks.reranking.data import load_rankings
from hf_dynbert.tasks.reranking.evaluate import RerankingEvaluator


pytest.importorskip("pytrec_eval", reason="needs the ranking extra")
QUERIES = [
    {"query": "who built the tower", "positives": ["ada built the tower"], "negatives": ["ben wrote", "the ship"]},
    {"query": "who wrote", "positives": ["ben wrote the song"], "negatives": ["ada built the tower", "a light"]},
    {"query": "who lit the light", "positives": ["cleo lit the light", "dan lit"], "negatives": ["the song", "ada"]},
    {"query": "where", "positives": ["in the house"], "negatives": ["the ship at 1907", "ben", "at the tower"]},
]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path):
    return write_lines(tmp_path / "rankings.jsonl", QUERIES)


@pytest.fixture
def reranker(sizes, tokenizer, tmp_path):
    folder = tmp_path / "model"
    torch.manual_seed(0)
    config = DynamicTinyBertConfig(**sizes, num_labels=1, min_tokens_to_drop=0)
    DynamicTinyBertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_forms_of_one_ranking_are_equal(tmp_path):
    texts, grades = ["ada built the tower", "ben wrote", "the ship"], [1, 0, 0]
    forms = [
        {"query": "who built", "positives": texts[:1], "negatives": texts[1:]},
        {"query": "who built", "positive": texts[0], "negative": texts[1:]},
        {"query": "who built", "passages": texts, "scores": grades},
        {"question": "who built", "passages": [{"text": t, "judgment": g} for t, g in zip(texts, grades, strict=True)]},
    ]
    rows = [load_rankings([write_lines(tmp_path / "one.jsonl", [form])])[0] for form in forms]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("q,p,grade\n" + "".join(f"who built,{t},{g}\n" for t, g in zip(texts, grades, strict=True)))
    rows.append(load_rankings([pairs], ["q", "p"], "grade")[0])
    (tmp_path / "test.qrels").write_text("7 0 a 1\n7 0 b 0\n7 0 c 0\n")
    (tmp_path / "bm25.run").write_text("".join(f"7 Q0 {name} {rank} 1.0 bm25\n" for rank, name in enumerate("abc")))
    (tmp_path / "queries.tsv").write_text("7\twho built\n")
    (tmp_path / "passages.tsv").write_text("".join(f"{n}\t{t}\n" for n, t in zip("abc", texts, strict=True)))
    rows.append(load_rankings([tmp_path / name for name in ("bm25.run", "test.qrels", "queries.tsv", "passages.tsv")])[0])
    for row in rows:
        assert (row["query"], row["passages"], row["relevance"]) == ("who built", texts, [1.0, 0.0, 0.0])


def metrics_by_formula(scores, grades):
    """nDCG@10, reciprocal rank and average precision of one query, for scores that differ."""
    ranked = [grade for _, grade in sorted(zip(scores, grades, strict=True), reverse=True)]
    gains = []
    for order in (ranked, sorted(grades, reverse=True)):
        gains.append(sum(grade / math.log2(rank + 2) for rank, grade in enumerate(order[:10])))
    first = next(rank for rank, grade in enumerate(ranked, start=1) if grade > 0)
    hits = [rank for rank, grade in enumerate(ranked, start=1) if grade > 0]
    precision = sum(number / rank for number, rank in enumerate(hits, start=1)) / len(hits)
    return gains[0] / gains[1], 1 / first if first <= 10 else 0.0, precision


def test_metrics_are_those_of_their_formulas(tmp_path, tokenizer, reranker):
    letters = "abcdefghijklmnopqrst"
    rows = []
    for query in range(6):
        passages = [f"the {a} {b} tower" for a, b in zip(letters, letters[query:] + letters[:query], strict=True)]
        grades = [(7 * index + query) % 23 % 4 if index % 3 else None for index in range(len(letters))]
        rows.append({"query": f"who built {letters[query]}", "passages": passages, "scores": grades})
    data = RERANKING.load([write_lines(tmp_path / "graded.jsonl", rows)], DataOptions())
    model = AutoModelForSequenceClassification.from_pretrained(reranker)
    evaluator = RERANKING.evaluator(tokenizer, data, model.config, DataOptions())
    found = evaluator.evaluate(model, "full")
    expected = [
        metrics_by_formula(scores, [grade or 0 for grade in row["scores"]])
        for scores, row in zip(found.predictions, rows, strict=True)
    ]
    for name, values in zip(("ndcg@10", "mrr@10", "map"), zip(*expected, strict=True), strict=True):
        assert found.metrics[name] == pytest.approx(100 * sum(values) / len(values), abs=1e-6), name
    assert found.per_example == pytest.approx([100 * ndcg for ndcg, _, _ in expected])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 1 is not JSON"),
        ("[1]", "line 1 has no query"),
        ('{"query": "a"}', "line 1 has no passages"),
        ('{"query": "\\ud800", "positives": ["b"]}', "line 1 has the query .* it must be a text"),
        ('{"query": "a", "positives": ["\\udfff b"]}', "line 1 has the passage .* it must be a text"),
        *(
            (f'{{"id": {identity}, "query": "a", "positives": ["b"]}}', "line 1 has the id .* must be a text or an integer")
            for identity in ("[1]", "{}", "true", "1.5", "NaN", '"\\ud800"')
        ),
        *(
            (
                f'{{"query": "a", "passages": ["b"], "scores": [{grade}]}}',
                "line 1 has the relevance .* a finite number up",
            )
            for grade in ("1" + "0" * 400, 10**30, "1e30", 2**63, "-1e400")
        ),
        ('{"query": "a", "positives": ["b"], "passages": ["c"], "scores": [1]}', "both passages and positives"),
        ('{"query": "a", "passages": [{"text": "b"}], "scores": [1]}', "scores beside judgments"),
        ('[\n{"query": "a", "positives": ["b"]}]', "line 1 is not JSON .* valid is"),
        ('{"query": " ", "positives": ["b"]}', "the query ' '; it must be a text"),
        ('{"query": "a", "positives": [""]}', "the passage ''; it must be a text"),
        ('{"query": "a", "positives": [7]}', "the passage 7; it must be a text"),
        ('{"query": "a", "passages": ["b", "c"], "scores": [1]}', "2 passages and needs as many scores"),
        ('{"query": "a", "passages": ["b"], "scores": ["high"]}', "the relevance 'high'; it must be a finite number"),
        ('{"query": "a", "passages": ["b"], "scores": [NaN]}', "the relevance nan; it must be a finite number"),
        ('{"query": "a", "passages": [{"txt": "b"}]}', "a passage without text"),
        ('{"id": 1, "query": "a", "positives": ["b"]}\n{"id": "1", "query": "c", "positives": ["b"]}', "have the id '1'"),
    ],
)
def test_wrong_data_are_refused_by_line(tmp_path, line, message):
    path = tmp_path / "wrong.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        RERANKING.load([path], DataOptions())


@pytest.mark.parametrize(
    "line", ['"negatives": ["b"]', '"positives": [], "negatives": ["b"]', '"passages": ["b"], "scores": [-1.5]']
)
def test_queries_without_a_relevant_passage_are_trained_but_not_measured(tokenizer, reranker, tmp_path, line, capsys):
    path = tmp_path / "data.jsonl"
    path.write_text(f'{{"query": "a", {line}}}\n')
    assert len(RERANKING.training_features(tokenizer, RERANKING.load([path], DataOptions()), DataOptions())) == 1
    assert cli.main(["evaluate", "--model", str(reranker), "--data", str(path), "--task", "reranking"]) != 0
    assert "query '1' has no relevant passage" in capsys.readouterr().err


def test_files_without_ids_are_read_together(tmp_path, file):
    """Ids that the files do not have are the numbers of the rows; metrics need no ids."""
    other = write_lines(tmp_path / "other.jsonl", QUERIES[:1])
    assert RERANKING.load([file, other], DataOptions())["id"][:] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("options", [{"text_columns": ("q",)}, {"text_columns": ("a", "b", "c")}, {"label_column": "grade"}])
def test_columns_of_data_without_columns_are_refused(file, options):
    with pytest.raises(ValueError, match="they name columns of pairs"):
        RERANKING.load([file], DataOptions(**options))


@pytest.mark.parametrize("grade", [10**6 + 1, 2**31, 2**40])  # at 2**40, trec_eval measured 0 without an error
def test_metrics_refuse_huge_grades(tokenizer, tmp_path, grade):
    rows = [{"query": "who built", "passages": ["ada built", "ben"], "scores": [grade, 0]}]
    data = RERANKING.load([write_lines(tmp_path / "huge.jsonl", rows)], DataOptions())
    with pytest.raises(ValueError, match="need integers up to 1000000"):
        RERANKING.evaluator(tokenizer, data, DynamicTinyBertConfig(num_labels=1), DataOptions())


def test_ids_with_a_zero_byte_are_two_queries(tmp_path, tokenizer):
    """pytrec_eval cuts names there, and ended the process."""
    rows = [QUERIES[number] | {"id": f"q\0{number}"} for number in (0, 1)]
    data = RERANKING.load([write_lines(tmp_path / "zero.jsonl", rows)], DataOptions())
    evaluator = RERANKING.evaluator(tokenizer, data, DynamicTinyBertConfig(num_labels=1), DataOptions())
    outputs = [{"logits": np.array([score])} for score in (1.0, 0.0, 0.5, 0.0, 1.0, 0.5)]
    assert evaluator.score(outputs).metrics["map"] == pytest.approx(100 * (1 + 1 / 3) / 2)


def write_trec(folder, run, qrels, queries, passages):
    names = ("bm25.run", "test.qrels", "queries.tsv", "passages.tsv")
    for name, content in zip(names, (run, qrels, queries, passages), strict=True):
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in names]


def test_judged_passages_that_the_run_misses_count_in_the_metrics(tmp_path, tokenizer):
    """Query 7 and passage 7 share an id; the ideal ranking has the unretrieved passage, as in trec_eval."""
    run, qrels = "7 Q0 7 1 2.0 bm25\n7 Q0 8 2 1.0 bm25\n", "7 0 8 1\n7 0 9 1\n"
    files = write_trec(tmp_path, run, qrels, "7\twho built\n", "7\tada built\n8\tthe ship\x85sank\n9\tben\n")
    for order in (files, files[::-1]):
        data = RERANKING.load(order, DataOptions())
        assert data[0]["query"] == "who built" and data[0]["passages"] == ["ada built", "the ship\x85sank"]
        assert data[0]["relevance"] == [None, 1.0] and data[0]["unretrieved"] == [1.0]
    inputs = RERANKING.inputs(tokenizer, data, DataOptions())
    evaluator = RerankingEvaluator(tokenizer, inputs, data["id"][:], data["relevance"][:], data["unretrieved"][:])
    scores = evaluator.score([{"logits": np.array([0.0])}, {"logits": np.array([1.0])}])
    assert scores.metrics["ndcg@10"] == pytest.approx(100 / (1 + 1 / math.log2(3))) and scores.metrics["map"] == 50.0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("7 Q0 a 1\n", "7 0 a 1\n", "7\tq\n", "a\tt\n"), "bm25.run, line 1 has 4 columns; valid are 6"),
        (("7 Q0 a 1 1 x\n", "7 0 a\n", "7\tq\n", "a\tt\n"), "test.qrels, line 1 has 3 columns; valid are 4"),
        *(
            (("7 Q0 a 1 1 x\n", f"7 0 a {grade}\n", "7\tq\n", "a\tt\n"), f"qrels, line 1 has the judgment '{grade:.9}")
            for grade in ("one", "--1", "-", "\u00b2", "1.0", "9" * 16, "9" * 5000)
        ),
        (("7 Q0 a 1 1 x\n7 Q0 a 2 1 x\n", "7 0 a 1\n", "7\tq\n", "a\tt\n"), "run, line 2 has passage a of query 7 a second"),
        (("7 Q0 a 1 1 x\n", "7 0 a 1\n7 0 a 0\n", "7\tq\n", "a\tt\n"), "qrels, line 2 has another judgment"),
        (("7 Q0 a 1 1 x\n", "7 0 a 1\n", "7\tq\n7\tr\n", "a\tt\n"), "queries.tsv, line 2 has another text for the id '7'"),
        (("7 Q0 a 1 1 x\n", "7 0 a 1\n", "7 q\n", "a\tt\n"), "queries.tsv, line 1 has no tab"),
        (("7 Q0 a 1 1 x\n", "7 0 a 1\n", "7\tq\n", "b\tt\n"), "The run has 'a', which is in none"),
    ],
)
def test_wrong_trec_files_are_refused_by_line(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        RERANKING.load(write_trec(tmp_path, *files), DataOptions())


def test_incomplete_trec_files_are_refused(tmp_path):
    (tmp_path / "bm25.run").write_text("7 Q0 a 1 1.0 bm25\n")
    with pytest.raises(ValueError, match="TREC data need four files"):
        load_rankings([tmp_path / "bm25.run"])
    with pytest.raises(FileNotFoundError, match="missing.qrels"):
        load_rankings([tmp_path / "bm25.run", tmp_path / "missing.qrels"])


def test_long_passages_are_cut_and_counted_and_long_queries_refused(tokenizer, file, tmp_path, caplog):
    rows = [{"query": "who", "positives": ["the tower " * 80], "negatives": ["a ship"]}]
    data = RERANKING.load([write_lines(tmp_path / "long.jsonl", rows)], DataOptions())
    inputs = RERANKING.inputs(tokenizer, data, DataOptions(max_length=32))
    assert [len(item["input_ids"]) for item in inputs][0] == 32 and "1 of 2 pairs fill max_length=32" in caplog.text
    with pytest.raises(ValueError, match="there is no room for a passage"):
        RERANKING.inputs(tokenizer, RERANKING.load([file], DataOptions()), DataOptions(max_length=4))


def test_verbs_take_a_reranker(reranker, file, tmp_path, capsys):
    argv = ["evaluate", "--model", str(reranker), "--data", str(file), "--task", "reranking", "--latency_samples", "1"]
    assert cli.main([*argv, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["examples"] == 4 and 0 < result["ndcg@10"] <= 100 and {"mrr@10", "map"} <= result.keys()
    search = ["search", "--model", str(reranker), "--output_dir", str(tmp_path / "search"), "--train_file", str(file)]
    search += ["--task", "reranking", "--validation_fraction", "0.5", "--search_samples", "1", "--confirm_samples", "1"]
    search += ["--cost", "macs", "--method", "tpe", "--num_evaluations", "3", "--latency_samples", "1", "--max_loss", "1"]
    pytest.importorskip("matplotlib", reason="needs the search extra")
    assert cli.main(search) == 0
    assert json.loads((tmp_path / "search" / "front.json").read_text())["budgets"]["full"]["metric"] == "ndcg@10"
    quantize = ["quantize", "--model", str(reranker), "--output_dir", str(tmp_path / "int8"), "--backend", "pytorch"]
    quantize += ["--train_file", str(file), "--task", "reranking", "--calibration_samples", "2", "--accuracy_samples", "2"]
    assert cli.main(quantize) == 0
    record = json.loads((tmp_path / "int8" / "quantization.json").read_text())
    assert record["metric"] == "ndcg@10" and record["ndcg@10_int8"]["full"] > 0


def test_a_missing_extra_is_one_line(reranker, file, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    assert cli.main(["evaluate", "--model", str(reranker), "--data", str(file), "--task", "reranking"]) == 2
    assert 'need the extra: pip install "hf_dynbert[ranking]"' in capsys.readouterr().err


def train(bert_folder, file, output, *more):
    argv = ["train", "--model_name_or_path", str(bert_folder), "--train_file", str(file), "--task", "reranking"]
    argv += ["--output_dir", str(output), "--use_cpu", "--max_length", "64", "--save_strategy", "no", *more]
    assert cli.main(argv) == 0
    return AutoModelForSequenceClassification.from_pretrained(output)


def test_train_learns_relevance(bert_folder, file, tmp_path):
    model = train(bert_folder, file, tmp_path / "model", "--max_steps", "30", "--learning_rate", "5e-3")
    assert model.config.num_labels == 1
    data, tokenizer = RERANKING.load([file], DataOptions()), AutoTokenizer.from_pretrained(tmp_path / "model")
    evaluator = RERANKING.evaluator(tokenizer, data, model.config, DataOptions())
    assert evaluator(model, "full")["ndcg@10"] > 90  # four queries are learned by heart; untrained it is about 70


def test_scores_and_a_teacher_are_learned(bert_folder, reranker, tmp_path):
    """Scores are regressed; a passage that is not judged is left out, for the teacher too."""
    rows = [{"query": row["query"], "passages": row["positives"] + row["negatives"]} for row in QUERIES[:2]]
    file = write_lines(tmp_path / "scores.jsonl", [row | {"scores": [2.5, None, 0.5]} for row in rows])
    assert train(bert_folder, file, tmp_path / "scored", "--max_steps", "1").config.problem_type == "regression"
    train(bert_folder, write_lines(tmp_path / "binary.jsonl", QUERIES), tmp_path / "binary", "--max_steps", "1")
    for teacher in (reranker, tmp_path / "binary"):
        options = ["--teacher_model_name_or_path", str(teacher), "--prediction_weight", "1", "--max_steps", "1"]
        assert train(bert_folder, file, tmp_path / f"taught by {teacher.name}", *options).config.num_labels == 1


def test_grades_of_another_kind_may_measure_training(bert_folder, file, tmp_path):
    """Scores to learn and binary grades to measure on have labels of one shape, at every size of the last batch."""
    rows = [{"query": row["query"], "passages": row["positives"] + row["negatives"]} for row in QUERIES[:2]]
    scores = write_lines(tmp_path / "scores.jsonl", [row | {"scores": [2.5, None, 0.5]} for row in rows])
    evaluation = ["--eval_file", str(file), "--eval_strategy", "steps", "--eval_steps", "1", "--max_steps", "1"]
    for batch in ("1", "8"):
        size = ["--per_device_eval_batch_size", batch, "--per_device_train_batch_size", batch]
        model = train(bert_folder, scores, tmp_path / f"batch {batch}", *evaluation, *size)
        assert model.config.problem_type == "regression"


@pytest.mark.parametrize("loss", ["margin_mse", "kl_div"])
def test_passages_of_a_query_are_compared(bert_folder, reranker, file, tmp_path, loss):
    options = ["--ranking_loss", loss, "--group_size", "2", "--max_steps", "2", "--importance", "learned"]
    train(bert_folder, file, tmp_path / "labels", *options)
    teacher = ["--teacher_model_name_or_path", str(reranker), "--hard_label_weight", "0"]
    taught = train(bert_folder, file, tmp_path / "taught", *options, *teacher)
    assert taught.config.num_labels == 1 and taught.config.task == "reranking"


def test_groups_have_each_passage_once_and_the_best_one_always(tokenizer):
    data = Dataset.from_list(
        [
            {"query": "who", "passages": list("abcde"), "relevance": [0.0, 0.0, 2.0, None, 1.0], "id": "1"},
            {"query": "where", "passages": ["f"], "relevance": [1.0], "id": "2"},
        ]
    )
    features = RERANKING.training_features(tokenizer, data, DataOptions(max_length=20))
    letters = {tokenizer.convert_tokens_to_ids(letter): letter for letter in "abcdef"}
    found = [
        ["".join(letters.get(token, "") for token in ids) for ids in row["input_ids"]]
        for row in RERANKING.group(features, 2, 0)
    ]
    assert [row[0] for row in found] == ["c", "c", "c"] and sorted(row[1] for row in found) == ["a", "b", "e"]
    with pytest.raises(ValueError, match="nothing to compare"):
        RERANKING.group(features.select([4]), 2, 0)


def test_losses_of_rankings_are_for_rankings(bert_folder, tmp_path, capsys):
    (tmp_path / "texts.csv").write_text("text,label\nada,1\nben,0\n")
    argv = ["train", "--model_name_or_path", str(bert_folder), "--task", "text-classification", "--use_cpu"]
    argv += ["--train_file", str(tmp_path / "texts.csv"), "--output_dir", str(tmp_path / "out"), "--ranking_loss", "kl_div"]
    assert cli.main(argv) == 2 and "ranking_loss=kl_div is for task reranking" in capsys.readouterr().err


def test_a_converted_cross_encoder_keeps_its_activation(sizes, tokenizer, tmp_path):
    config = BertConfig(**sizes, num_labels=1, sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    folder = convert(str(tmp_path / "bert"), tmp_path / "converted", budgets={"low": [4, 3, 2, 1]})
    again = AutoModelForSequenceClassification.from_pretrained(folder)
    assert again.config.task == "reranking"
    for model in (config, again.config):  # `quantize` and `train` write the files from the converted configuration
        activation = RERANKING.extra_files(model)["config_sentence_transformers.json"]["activation_fn"]
        assert activation == "torch.nn.modules.linear.Identity"


def test_labels_and_groups_that_do_not_fit_are_refused(bert_folder, file, tmp_path, capsys):
    argv = ["train", "--model_name_or_path", str(bert_folder), "--use_cpu", "--output_dir", str(tmp_path / "out")]
    (tmp_path / "names.csv").write_text("text,label\nada,good\nben,bad\n")
    texts = ["--task", "text-classification", "--train_file", str(tmp_path / "names.csv")]
    rankings = ["--task", "reranking", "--train_file", str(file), "--ranking_loss", "kl_div"]
    wrong = {
        "the labels are classes": [*texts, "--problem_type", "regression"],
        "group_size is 1": [*rankings, "--group_size", "1"],
    }
    for message, options in wrong.items():
        assert cli.main([*argv, *options]) == 2 and message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
