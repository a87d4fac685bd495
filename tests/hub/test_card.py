# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from hf_dynbert import (
    DistillationArguments,
    DistillationCollator,
    DistillationTrainer,
    DynamicTinyBertConfig,
    DynamicTinyBertForSequenceClassification,
    training_features,
)
from hf_dynbert.commands.main import main
from hf_dynbert.hub.model_card import MARK, PLACE, write_card, write_evaluation
from hf_dynbert.hub.records import hub_id


BUDGETS = {
    "half": [0.8, 0.6, 0.5, 0.3],
    "fast": {
        "length_config": [0.8, 0.4, 0.4, 0.2],
        "f1": 71.25,
        "macs": 1.5e9,
        "latency_ms": 9.5,
        "tokens": 164,
        "machine": "A CPU, 2 threads",
        "runtime": "PyTorch 2 float32",
        "sample": "600 held-out questions",
    },
}


RESULT = {"f1": 74.567, "exact_match": 63.2, "macs_mean": 1e9, "macs_ratio": 0.5, "length_config": [0.8, 0.6, 0.5, 0.3]}
FULL = RESULT | {"macs_ratio": 1.0, "length_config": None}


@pytest.fixture
def folder(make_model, tokenizer, tmp_path):
    folder = tmp_path / "tiny-squad"
    make_model(importance="learned", budgets=BUDGETS).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def evaluated(**changes):
    found = {"data": "rajpurkar/squad validation", "dataset": "rajpurkar/squad", "split": "validation"}
    return found | {"examples": 10570, "whole": True, "date": "2026-01-02"} | changes


def test_the_dearest_budget_comes_first(folder):
    config = json.loads((folder / "config.json").read_text())
    dear = BUDGETS["fast"] | {"f1": 72.0, "macs": 2e9, "f1_error": 0.4567}
    config["budgets"] |= {"front-1": dear, "full": dear | {"length_config": None, "macs": 4e9, "f1_error": None}}
    (folder / "config.json").write_text(json.dumps(config))
    card = write_card(folder).read_text()
    assert re.findall(r"^\| `(.*?)`", card, re.M) == ["full", "front-1", "fast", "half"]
    assert "| 72.00 ± 0.46 | 2.00 G |" in card and card.count("± is the standard error") == 1
    assert card.count("mean over 600 held-out questions") == 1


def test_the_snippet_runs(folder, capsys):
    card = write_card(folder).read_text().replace(PLACE, str(folder))
    code = re.search(r"```python\n(.*?)```", card, re.S)[1]
    exec(compile(code, "card", "exec"), {})  # noqa: S102 (our own text: that it runs is what is tested)
    assert capsys.readouterr().out.count("'answer'") == 2 and 'budget="fast"' in code


@pytest.mark.parametrize(("task", "tag"), [("reranking", "text-ranking"), ("text-classification", "text-classification")])
def test_the_snippet_of_every_task_runs(task, tag, sizes, tokenizer, tmp_path, capsys):
    config = DynamicTinyBertConfig(**sizes, num_labels=1, task=task, budgets={"fast": [0.8, 0.6, 0.5, 0.3]})
    DynamicTinyBertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    card = write_card(tmp_path).read_text().replace(PLACE, str(tmp_path))
    assert f"pipeline_tag: {tag}\n" in card
    exec(compile(re.search(r"```python\n(.*?)```", card, re.S)[1], "card", "exec"), {})  # noqa: S102 (our own text)
    assert capsys.readouterr().out.count("'score'") == (4 if task == "reranking" else 2)


def test_budgets_are_told_with_what_was_measured(folder):
    card = write_card(folder).read_text()
    assert "| `half` | 0.8, 0.6, 0.5, 0.3 |  | " in card
    assert "| `fast` | 0.8, 0.4, 0.4, 0.2 | 71.25 | 1.50 G | 9.5 ms |" in card
    assert "mean over 600 held-out questions. Latency: batch 1, 164 tokens, A CPU, 2 threads, PyTorch 2 float32." in card
    assert "## Evaluation" not in card and "## Training" not in card and "front.png" not in card and "±" not in card
    (folder / "front.png").write_bytes(b"a picture")
    assert "](front.png)" in write_card(folder).read_text()


HOSTILE = (
    "<script>alert(1)</script>",
    "![](http://tracker)",
    "a | b\n# A title",
    '")\nimport os #',
    "`code`",
    "x" * 5_000_000,
)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:10])
def test_values_of_records_are_no_code_no_html_and_not_long(folder, value):
    config = json.loads((folder / "config.json").read_text())
    config["budgets"] = {
        "half": BUDGETS["half"],
        "fast": BUDGETS["fast"] | {"machine": value, "runtime": value, "sample": value},
    }
    values = dict.fromkeys(
        ("teacher", "data", "started_from", "machine", "license", "language", "dataset", "base_model"), value
    )
    training = values | {"tags": [value], "minutes": 1.0, "examples": value, "hyperparameters": {value: value}}
    training |= {"versions": {value: value}}
    int8 = {"arguments": {value: [value]}, "kept_in_fp32": [value], "f1_int8": {value: 1.0, "full": value}, "f1_fp32": {}}
    results = {"half": RESULT, "0" + value: RESULT | {value: 1.0, "f1": value}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "quantization.json").write_text(json.dumps(int8))
    (folder / "evaluation.json").write_text(
        json.dumps(evaluated(data=value, dataset=value, split=value) | {"results": results})
    )
    text = write_card(folder).read_text()
    body = text.split("\n---\n", 1)[1]
    assert len(text) < 50_000
    assert (
        "<script>" not in body
        and "![](http" not in body
        and "import os" not in re.search(r"```python\n(.*?)```", body, re.S)[1]
    )
    assert "\n# A title" not in body and body.count("\n# ") == 1 and "`code`" not in body
    code = re.search(r"```python\n(.*?)```", body, re.S)[1]
    assert 'budget="half"' in code and compile(code, "card", "exec")
    assert ModelCard(text).data.to_dict()["library_name"] == "transformers"


def test_metadata(folder):
    (folder / "training.json").write_text(json.dumps({"base_model": "org/base", "dataset": "rajpurkar/squad"}))
    write_evaluation(folder, evaluated(), "half", RESULT)
    write_evaluation(folder, evaluated(date="2026-01-03"), "full", FULL)
    data = ModelCard.load(folder / "README.md").data  # parses model-index too, or says what is wrong with it
    assert (data.library_name, data.pipeline_tag) == ("transformers", "question-answering")
    assert (data.base_model, data.datasets) == ("org/base", ["rajpurkar/squad"])
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [("f1", 74.57), ("exact_match", 63.2)] * 2
    entries = parse_eval_result_entries(yaml.safe_load((folder / ".eval_results" / "squad.yaml").read_text()))
    assert {(entry.dataset_id, entry.value, entry.notes) for entry in entries} == {
        ("rajpurkar/squad", value, "budget full") for value in (74.57, 63.2)
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [("org/base", "org/base"), ("./out/x", None), ("/home/ada/x", None), ("base", None), ("a/b/c", None), (None, None)],
)
def test_a_folder_is_no_name_of_the_hub(name, found, tmp_path, monkeypatch):
    assert hub_id(name) == found
    (tmp_path / "org" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_id("org/base") is None


def test_an_evaluation_of_another_budget_of_the_same_name_is_not_shown(folder):
    write_evaluation(folder, evaluated(), "half", RESULT)
    assert "74.57" in (folder / "README.md").read_text()
    config = json.loads((folder / "config.json").read_text())
    config["budgets"]["half"] = [0.7, 0.6, 0.5, 0.3]
    (folder / "config.json").write_text(json.dumps(config))
    assert "74.57" not in write_card(folder).read_text()


def test_models_of_others_get_no_card_and_keep_no_evaluation(bert_folder, articles_file, capsys):
    assert write_card(bert_folder) is None and not (bert_folder / "README.md").exists()
    options = ["--data", str(articles_file), "--limit", "2", "--max_length", "128", "--stride", "16", "--save"]
    assert main(["evaluate", "--model", str(bert_folder), *options]) == 2
    assert "length-adaptive model's folder" in capsys.readouterr().err


@pytest.mark.parametrize("part", [{"whole": False}, {"dataset": None}])
def test_parts_of_a_benchmark_are_no_entry_of_it(folder, part):
    write_evaluation(folder, evaluated(**part), "full", FULL)
    assert "74.57" in (folder / "README.md").read_text() and not (folder / ".eval_results").exists()


def test_other_questions_replace_an_evaluation(folder):
    write_evaluation(folder, evaluated(), "half", RESULT)
    write_evaluation(folder, evaluated(examples=100, whole=False), "full", FULL)
    assert set(json.loads((folder / "evaluation.json").read_text())["results"]) == {"full"}


def test_a_persons_card_stays(folder):
    path = write_card(folder)
    path.write_text(path.read_text().replace(MARK, "").replace("# tiny-squad", "# My own words"))
    assert write_card(folder) is None and "My own words" in path.read_text()
    write_evaluation(folder, evaluated(), "full", FULL)
    assert "My own words" in path.read_text() and (folder / ".eval_results" / "squad.yaml").exists()
    (folder / "evaluation.json").unlink()  # of a model that is there no more
    assert write_card(folder) is None and not (folder / ".eval_results" / "squad.yaml").exists()


def test_a_recipe_writes_the_card(bert_folder, squad_file, articles_file, tmp_path):
    output = tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model_name_or_path: {bert_folder}\nteacher_model_name_or_path: {bert_folder}\n")
    options = ["--train_file", str(squad_file), "--output_dir", str(output), "--max_length", "120", "--stride", "8"]
    options += ["--teacher_cache_dir", str(tmp_path / "cache"), "--hub_token", "hf_secret"]
    assert main(["train", str(recipe), *options, "--max_steps", "2", "--use_cpu", "--report_to", "none"]) == 0
    card = (output / "README.md").read_text()
    assert f"distilled from {bert_folder.name}" in card and f"| data | {squad_file.name} |" in card
    assert "| seed | 42 |" in card and "| max_length | 120 |" in card and "| weight_decay | 0.0 |" in card
    assert "| learning_rate | 5e-05 |" in card and "| max_steps | 2 |" in card and "arxiv.org/abs/1503.02531" in card
    assert re.search(r"\| took \| \d+ minutes on .*threads \|", card)
    assert "## Limits" in card and "| versions | hf_dynbert " in card
    told = "".join(path.read_text() for path in output.glob("*") if path.suffix in (".md", ".json") and path.is_file())
    assert str(tmp_path) not in told and "hf_secret" not in told
    assert not [path for path in output.rglob("*") if path.is_file() and b"hf_secret" in path.read_bytes()]
    evaluate = ["evaluate", "--model", str(output), "--data", str(articles_file), "--limit", "6", "--max_length", "128"]
    assert main([*evaluate, "--stride", "16", "--latency_samples", "0", "--length_config", "full", "--save", "--json"]) == 0
    assert f"{articles_file.name}, 6 examples." in (output / "README.md").read_text()


def test_a_trainers_card(make_model, tokenizer, questions, tmp_path):
    args = DistillationArguments(str(tmp_path / "out"), max_steps=1, use_cpu=True, report_to=[], hidden_weight=0.0)
    features = training_features(questions, tokenizer, max_length=120, stride=8)
    trainer = DistillationTrainer(
        make_model(budgets=BUDGETS),
        args,
        train_dataset=features,
        data_collator=DistillationCollator(tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    trainer.create_model_card(dataset="rajpurkar/squad", finetuned_from="org/base")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.base_model == "org/base" and MARK in card.content and PLACE in card.content


def test_scores_of_int8_under_names_that_are_others_now_are_not_told(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"budgets": {"fast": [0.5] * 4, "half": [0.7] * 4}}))
    f1 = {"full": 70.0, "fast": 61.0, "half": 65.0}
    record = {"arguments": {}, "length_configs": {"full": None, "fast": [0.9] * 4, "half": [0.7] * 4}}
    record |= {"f1_int8": f1, "f1_fp32": f1, "f1_questions": 8}
    (folder / "quantization.json").write_text(json.dumps(record))
    write_card(folder)
    card = (folder / "README.md").read_text()
    assert "full 70.00, half 65.00" in card and "61.00" not in card


def test_evaluations_at_the_same_time_lose_no_result(folder):
    names = [f"budget{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: write_evaluation(folder, evaluated(), name, RESULT), names))
    record = json.loads((folder / "evaluation.json").read_text())
    assert set(record["results"]) == set(names)
