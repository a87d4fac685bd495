"""The command as a person types it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hf_dynbert.commands.main import argument_classes, main
from hf_dynbert.commands.parsing import parse_arguments
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import check_together
from hf_dynbert.training.arguments import DistillationArguments


CLASSES = (ModelArguments, DataArguments, DistillationArguments)
RECIPE = """
model_name_or_path: {model}
output_dir: {output}
train_file: [{data}]
max_length: 128
stride: 16
budgets: {{half: [0.8, 0.6, 0.5, 0.3]}}
max_steps: 2
learning_rate: 1e-3
per_device_train_batch_size: 4
use_cpu: true
report_to: none
"""


@pytest.fixture
def recipe(tmp_path, bert_folder, articles_file):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(model=bert_folder, output=tmp_path / "trained", data=articles_file))
    return path


def test_train_evaluate_ask(recipe, articles_file, tmp_path, capsys):
    def printed(*argv):
        assert main([str(word) for word in argv]) == 0
        return capsys.readouterr().out

    assert "Saved in" in printed("train", recipe)
    trained = tmp_path / "trained"
    assert not list(trained.glob(".writing-*"))
    evaluate = ["evaluate", "--model", str(trained), "--data", str(articles_file), "--max_length", "128", "--stride", "16"]
    evaluate += ["--limit", "6"]
    result = json.loads(printed(*evaluate, "--budget", "half", "--json", "--dtype", "bfloat16"))
    assert {"exact_match", "f1", "macs_mean", "latency_ms_p50"} <= set(result)
    assert result["examples"] == 6 and result["length_config"] == [0.8, 0.6, 0.5, 0.3]
    evaluate += ["--latency_samples", "0", "--length-config"]  # the name of --budget in old recipes
    results = json.loads(printed(*evaluate, "named", "0.9,0.8,0.7,0.5", "--json"))
    assert list(results) == ["full", "half", "0.9,0.8,0.7,0.5"] and results["full"]["macs_ratio"] == 1
    assert results["half"]["latency_ms_p50"] is None  # not measured, and JSON has no NaN
    assert f"{results['half']['f1']:.2f}" in printed(*evaluate, "full", "half").splitlines()[-1]
    assert main([*evaluate, "full", "quarter"]) == 2 and "quarter" in capsys.readouterr().err
    assert main([*evaluate, "full", "half", "--predictions", "x.json"]) == 2
    assert "of one budget" in capsys.readouterr().err


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_answers_lie_in_the_file_as_written(mark, make_model, tokenizer, tmp_path, capsys, monkeypatch):
    model = tmp_path / "model"
    make_model().save_pretrained(model)
    tokenizer.save_pretrained(model)
    text = "it was dark.\r\n\r\nada lit the tower by night.\r\n"
    file = tmp_path / "context.txt"
    file.write_bytes(mark + text.encode())
    ask = ["predict", "--model", str(model), "--question", "who lit the tower?", "--top_k", "3", "--json"]
    assert main([*ask, "--context-file", str(file), "--budget", "0.9,0.8,0.7,0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 3 and all(0 <= item["score"] <= 1 for item in found)
    assert all(item["answer"] == text[item["start"] : item["end"]] for item in found)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file.open("rb")))
    assert main([*ask, "--context_file", "-", "--budget", "0.9,0.8,0.7,0.5"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_the_command_line_wins_over_the_recipe(recipe):
    model, data, args = parse_arguments([str(recipe), "--learning_rate", "0.5", "--max-steps=7", "--stride", "8"], CLASSES)
    assert (args.learning_rate, args.max_steps, data.stride) == (0.5, 7, 8)
    assert args.per_device_train_batch_size == 4
    assert json.loads(model.budgets) == {"half": [0.8, 0.6, 0.5, 0.3]}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lerning_rate", "1"], "option --lerning_rate is unknown; the nearest valid one is learning_rate"),
        (["--learning", "1"], "--learning is unknown"),
        (["stray"], "'stray' belongs to no option"),
        (["--no_learning_rate"], "--no_learning_rate is unknown; the nearest valid one is learning_rate"),
        (["--max_steps", "many"], "invalid int value: 'many'"),
        (["--use_cpu", "maybe"], "is not true or false"),
        (["--teacher_dtype", "int3"], "invalid choice: 'int3'"),
    ],
)
def test_unknown_options(recipe, argv, message):
    with pytest.raises(ValueError, match=message):
        parse_arguments([str(recipe), *argv], CLASSES)


def test_unknown_recipe_keys(recipe):
    recipe.write_text(recipe.read_text() + "num_sandwhich: 2\n")
    with pytest.raises(ValueError, match="key 'num_sandwhich' is unknown; the nearest valid one is num_sandwich"):
        parse_arguments([str(recipe)], CLASSES)


RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recipes_say_what_their_verbs_understand(path, tmp_path):
    """Every option is known and its value possible; the command in its comment is its own."""
    text = path.read_text()
    verb = path.stem if path.stem in ("quantize", "search") else "train"
    assert f"hf-dynbert {verb} recipes/{path.parent.name}/{path.name}" in text or path.parent.name == "demo"
    parsed = parse_arguments([str(path), "--output_dir", str(tmp_path)], argument_classes(verb))
    if verb == "train":
        check_together(*parsed)


def test_import_is_light_and_silent():
    code = "import sys, hf_dynbert; print(sorted(m for m in sys.modules if m.split('.')[0] in {heavy}))"
    heavy = {"openvino", "optimum", "nncf", "neural_compressor", "matplotlib", "optuna"}
    finished = subprocess.run([sys.executable, "-c", code.replace("{heavy}", repr(heavy))], capture_output=True, text=True)
    assert finished.stdout.strip() == "[]" and not finished.stderr, finished.stderr
