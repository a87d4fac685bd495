"""The command as a person types it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hf_dynbert.commands.main import main
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


def argument_classes(verb):
    return importlib.import_module(f"hf_dynbert.commands.{verb}").argument_classes()


@pytest.fixture
def recipe(tmp_path, bert_folder, articles_file):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(model=bert_folder, output=tmp_path / "trained", data=articles_file))
    return path


def test_train_evaluate_ask(recipe, articles_file, tmp_path, capsys):
    assert main(["train", str(recipe)]) == 0
    trained = tmp_path / "trained"
    assert not list(trained.glob(".writing-*"))
    capsys.readouterr()
    options = ["--data", str(articles_file), "--max_length", "128", "--stride", "16", "--limit", "6"]
    command = ["evaluate", "--model", str(trained), *options, "--length-config", "half", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["examples"] == 6
    assert {"exact_match", "f1", "macs_mean", "latency_ms_p50"} <= set(result)
    assert result["length_config"] == [0.8, 0.6, 0.5, 0.3]
    several = ["evaluate", "--model", str(trained), *options, "--latency_samples", "0", "--length-config"]
    assert main([*several, "named", "0.9,0.8,0.7,0.5", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert list(results) == ["full", "half", "0.9,0.8,0.7,0.5"]
    assert results["half"]["f1"] == result["f1"] and results["full"]["macs_ratio"] == 1
    assert main([*several, "full", "half"]) == 0
    assert f"{result['f1']:.2f}" in capsys.readouterr().out.splitlines()[-1]
    assert main([*several, "full", "quarter"]) == 2 and "quarter" in capsys.readouterr().err
    assert main([*several, "full", "half", "--predictions", "x.json"]) == 2
    assert "of one budget" in capsys.readouterr().err
    assert main([*command, "--dtype", "bfloat16"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 6
    text = tmp_path / "context.txt"
    text.write_text("ada lit the tower by night.")
    command = ["ask", "--model", str(trained), "--question", "who lit the tower?", "--context-file", str(text)]
    assert main([*command, "--length-config", "0.9,0.8,0.7,0.5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["answer"] == "ada lit the tower by night."[answer["start"] : answer["end"]]
    assert 0 <= answer["score"] <= 1


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
        (["--no_learning_rate"], "learning_rate is not true or false"),
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
    recipe.write_text("- a list")
    with pytest.raises(ValueError, match="not a recipe"):
        parse_arguments([str(recipe)], CLASSES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "nearest valid one is train"),
        (["train", "nowhere.yaml"], "nowhere.yaml"),
        (
            ["evaluate", "--model", "MODEL", "--data", "DATA", "--length-config", "0.1,0.2,0.3,0.4"],
            "has no length configuration",
        ),
        (["evaluate", "--model", "MODEL", "--data", "DATA", "--length-config", "fast"], "has no length configuration"),
        (["evaluate", "--model", "MODEL", "--data", "nowhere.json"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(argv, message, bert_folder, articles_file, capsys):
    argv = [{"MODEL": str(bert_folder), "DATA": str(articles_file)}.get(word, word) for word in argv]
    assert main(argv) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("hf-dynbert: ") and message.lower() in error.lower(), error


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


def test_import_is_light():
    code = "import sys, hf_dynbert; print(sorted(m for m in sys.modules if m.split('.')[0] in {heavy}))"
    heavy = {"openvino", "optimum", "nncf", "neural_compressor", "matplotlib", "optuna"}
    finished = subprocess.run([sys.executable, "-c", code.replace("{heavy}", repr(heavy))], capture_output=True, text=True)
    assert finished.stdout.strip() == "[]", finished.stderr


def test_the_tests_of_the_core_need_no_intel_extra():
    """Every test module is collected where the `intel` extra is missing, as in the lane of the newest transformers."""
    missing = ["openvino", "optimum", "nncf", "neural_compressor"]
    collect = ["--collect-only", "--quiet", "-p", "no:cacheprovider"]  # the run that this is part of keeps its own cache
    code = f"import sys, pytest; sys.modules.update(dict.fromkeys({missing})); sys.exit(pytest.main({collect}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert finished.returncode == 0, finished.stdout[-2000:]  # its end names the module
