"""From a model and held-out questions to budgets in its configuration, as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForQuestionAnswering

from hf_dynbert.budgets.model_budgets import length_configs, named_budgets
from hf_dynbert.budgets.search.arguments import SearchArguments
from hf_dynbert.budgets.search.run import run_search
from hf_dynbert.commands.main import main
from hf_dynbert.loading import load
from hf_dynbert.tasks import DataOptions, get_task
from hf_dynbert.tasks.text_classification.data import load_texts


@pytest.fixture
def model_folder(make_model, tokenizer, tmp_path):
    make_model(importance="learned", budgets={"half": [0.7, 0.5, 0.4, 0.3]}).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def options(model_folder, articles_file, tmp_path):
    return {
        "model": str(model_folder),
        "output_dir": str(tmp_path / "found"),
        "train_file": [str(articles_file)],
        "validation_fraction": 0.99,  # the tiny questions are one article
        "search_samples": 8,
        "confirm_samples": 4,
        "training_samples": 4,
        "max_loss": 1.0,  # this tiny model is not trained
        "num_evaluations": 8,
        "latency_samples": 1,
        "max_length": 128,
        "stride": 16,
    }


def words(options):
    return [
        str(word)
        for name, value in options.items()
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]


def test_search_as_a_person_types_it(options, articles_file, tmp_path, capsys):
    folder = options["model"]
    assert main(["search", *words(options), "--eval_file", str(articles_file)]) == 0
    printed = capsys.readouterr().out
    assert "all tokens" in printed and "| budget | length configuration | F1 | F1 lost |" in printed
    for name in ("search.journal", "front.json", "front.md", "front.png"):
        assert (tmp_path / "found" / name).stat().st_size > 0
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    budgets = model.config.budgets
    assert budgets["half"] == [0.7, 0.5, 0.4, 0.3]  # the user's own budget stays
    full = budgets["full"]
    assert full["length_config"] is None and full["latency_ms"] > 0 and "validation split" in full["sample"]
    assert model.choose_budget(speedup=1.0) is not None
    card = (Path(folder) / "README.md").read_text()
    assert "](front.png)" in card and (Path(folder) / "front.png").exists()
    assert f"| `full` | all tokens | {full['f1']:.2f} |" in card and full["machine"] in card and full["sample"] in card
    report = json.loads((tmp_path / "found" / "front.json").read_text())
    assert len(report["evaluations"]) <= 8 and report["budgets"] == {n: b for n, b in budgets.items() if n != "half"}
    assert report["test_scores"].keys() == report["budgets"].keys()


def test_a_classifier_is_searched_by_its_own_metric(options, make_model, tokenizer, tmp_path):
    make_model("text-classification", importance="learned").save_pretrained(options["model"])
    options.pop("stride")  # of questions alone
    words_ = ["ada wrote the song", "ben lit the light house", "cleo keeps a ship in the tower"]
    rows = [{"text": f"{words_[n % 3]} at {n} 1 9 0 7 by dan who built it", "label": n % 3} for n in range(40)]
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    more = {"train_file": [str(file)], "eval_file": [str(file)], "validation_fraction": 0.5, "cost": "macs"}
    folder = run_search(SearchArguments(**options | more))
    model = load(options["model"])
    full = model.config.budgets["full"]
    evaluator = get_task("text-classification").evaluator(
        tokenizer, load_texts(str(file), ["text"]), model.config, DataOptions()
    )
    report = json.loads((folder / "front.json").read_text())
    assert full["metric"] == "accuracy" and "f1" not in full and full["macs"] > 0
    assert report["test_scores"]["full"] == pytest.approx(evaluator(model, "full")["accuracy"])
    assert "| budget | length configuration | accuracy | accuracy lost |" in (folder / "front.md").read_text()
    assert model.choose_budget(speedup=1.0) is not None


def test_rankings_are_timed_in_batches(options, make_model, tokenizer, tmp_path):
    pytest.importorskip("pytrec_eval", reason="needs the ranking extra")
    options.pop("stride")  # of questions alone
    model = make_model("text-classification", num_labels=1, ignore_mismatched_sizes=True)
    model.config.task = "reranking"
    model.save_pretrained(options["model"])
    passages = ["ada wrote the song at the tower", "ben lit the light house", "cleo keeps a ship in the tower"]
    rows = [{"query": f"who wrote at {n}", "positives": passages[:1], "negatives": passages[1:]} for n in range(24)]
    file = tmp_path / "rankings.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    run_search(SearchArguments(**options | {"train_file": [str(file)], "validation_fraction": 0.5}))
    model = load(options["model"])
    full = model.config.budgets["full"]
    assert (full["metric"], full["batch_size"]) == ("ndcg@10", 8)
    assert "batch 8" in (Path(options["model"]) / "README.md").read_text()
    assert model.choose_budget(max_latency_ms=1e6) is not None  # timed at batch 1, where the search was at batch 8


def test_budgets_are_saved_in_all_targets(options, make_model, tokenizer, tmp_path):
    make_model(drop_layers=[1, 3]).save_pretrained(tmp_path / "narrow")
    config = json.loads((tmp_path / "narrow" / "config.json").read_text())
    config["budgets"] = {"balanced": {"length_config": [1.0, 0.9, 0.9, 0.9], "f1": 1.0, "macs": 1.0}}  # of an earlier search
    config["budgets"]["front-9"] = {"length_config": [1.0, 0.9, 0.9, 0.9], "f1": 1.0, "macs": 1.0}
    config["budgets"]["front-desk"] = [1.0, 0.5, 0.5, 0.5]
    (tmp_path / "narrow" / "config.json").write_text(json.dumps(config))
    run_search(SearchArguments(**options | {"cost": "macs", "save_to": [options["model"], str(tmp_path / "narrow")]}))
    saved = []
    for folder in (options["model"], tmp_path / "narrow"):
        config = AutoModelForQuestionAnswering.from_pretrained(folder).config
        assert all(budget[0] == 1.0 for name, budget in length_configs(config).items() if name != "half")
        saved.append({name: entry for name, entry in config.budgets.items() if isinstance(entry, dict)})
        assert config.min_tokens_to_drop in (0, 16, 32, 48, 64, 96, 128, 129)
    assert saved[0] == saved[1] and "full" in saved[1]
    assert config.budgets["front-desk"] == [1.0, 0.5, 0.5, 0.5] and "front-desk" in named_budgets(config)
    assert config.budgets.get("balanced", {}).get("f1") != 1.0 and config.budgets.get("front-9", {}).get("f1") != 1.0


def test_the_search_leaves_examples_that_confirm_its_results(options):
    with pytest.raises(ValueError, match="search_samples=12 leaves none to confirm"):
        run_search(SearchArguments(**options | {"search_samples": 12}))


def test_a_search_resumes(options, tmp_path):
    run_search(SearchArguments(**options | {"cost": "macs"}))
    report = tmp_path / "found" / "front.json"
    evaluations = json.loads(report.read_text())["evaluations"]
    report.unlink()
    run_search(SearchArguments(**options | {"cost": "macs"}))
    assert json.loads(report.read_text())["evaluations"] == evaluations  # none was added
    config = json.loads((Path(options["model"]) / "config.json").read_text())
    assert config["budgets"]["half"] == [0.7, 0.5, 0.4, 0.3]


def test_two_processes_share_a_search(options):
    """Each evaluates a part, and the last of them writes the results."""
    evaluations = 40
    more = {"cost": "macs", "num_evaluations": evaluations, "method": "tpe"}
    command = [sys.executable, "-m", "hf_dynbert.commands.main", "search", *words(options | more)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    found = json.loads((Path(options["output_dir"]) / "front.json").read_text())
    assert 0 < len(found["evaluations"]) <= evaluations + 1  # the last evaluation may run in both
    outs = [out for out, _ in outputs]
    assert any("| budget |" in out for out in outs)
    assert all("| budget |" in out or "Other processes still work" in out for out in outs)
    budgets = AutoModelForQuestionAnswering.from_pretrained(options["model"]).config.budgets
    assert found["budgets"]["full"]["f1"] == budgets["full"]["f1"]


def test_another_validation_split_is_a_warning(options, caplog):
    options |= {"cost": "macs", "method": "tpe", "num_evaluations": 1}
    record, right = Path(options["model"]) / "training.json", options["validation_fraction"]
    cases = (({}, "is unknown"), ({"validation_fraction": 0.5}, "was 0.5"), ({"held_out": 0.5}, "was 0.5"))
    for content, warned in (*cases, ({"validation_fraction": right}, None), ({"held_out": right}, None)):
        record.write_text(json.dumps(content))
        run_search(SearchArguments(**options))
        lines = [line.getMessage() for line in caplog.records]
        messages = [line for line in lines if "examples, their scores are too high" in line]
        assert [warned in message for message in messages] == ([True] if warned else [])
        caplog.clear()


def test_shares_as_small_as_those_of_training_are_searched(options, make_model):
    make_model(budgets={"third": [0.5, 0.5, 0.2, 0.03]}).save_pretrained(options["model"])
    folder = run_search(SearchArguments(**options | {"cost": "macs", "method": "tpe", "num_evaluations": 4}))
    configs = [config for config, _, _ in json.loads((folder / "front.json").read_text())["evaluations"]]
    assert configs[0] == [0.5, 0.5, 0.2, 0.03]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "genetic"}, "method is 'genetic'; valid are 'grid', 'tpe', 'nsga2'"),
        ({"cost": "money"}, "cost is 'money'; valid are 'latency', 'macs'"),
        ({"validation_fraction": 0.0}, "validation_fraction is 0.0; valid are numbers above 0 and below 1"),
        ({"max_loss": 0.0}, "max_loss is 0.0; valid are numbers above 0"),
        ({"threads": -1}, "threads is -1; valid are numbers from 1 on"),
        ({"method": "grid", "num_evaluations": 15}, "at least 16 points, num_evaluations is 15"),
        ({"num_evaluations": 0}, "num_evaluations is 0"),
        ({"save_to": ["nowhere"]}, "nowhere is no folder with a model"),
    ],
)
def test_bad_searches_are_refused_before_any_work(options, wrong, message):
    with pytest.raises(ValueError, match=message):
        run_search(SearchArguments(**options | wrong))


def test_a_model_that_cannot_drop_is_refused(options, bert_folder):
    with pytest.raises(ValueError, match="BertForQuestionAnswering, which cannot drop tokens"):
        run_search(SearchArguments(**options | {"model": str(bert_folder)}))


def test_ask_selects_a_searched_budget_by_latency(options, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("ada wrote the song.")
    question = [
        "predict",
        "--model",
        options["model"],
        "--question",
        "who wrote?",
        "--context-file",
        str(tmp_path / "notes.txt"),
    ]
    assert main([*question, "--speedup", "2"]) == 2
    assert "no measured budgets. hf-dynbert search finds them" in capsys.readouterr().err
    run_search(SearchArguments(**options))
    assert main([*question, "--max-latency-ms", "1e6"]) == 0
    assert main([*question, "--max-latency-ms", "1e6", "--length-config", "half"]) == 2
    assert "--budget and --max_latency_ms all select a budget; give one of them" in capsys.readouterr().err
