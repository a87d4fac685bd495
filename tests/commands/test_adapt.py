"""`hf-dynbert adapt`, from a fine-tuned model and inputs without labels to int8 with measured budgets."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
)

from hf_dynbert import load
from hf_dynbert.adaptation.arguments import AdaptArguments
from hf_dynbert.adaptation.run import Adaptation
from hf_dynbert.commands.main import main
from hf_dynbert.tasks import DataOptions, get_task
from hf_dynbert.tasks.inference import run_sorted


WORDS = "who what keeps wrote lit built ada ben cleo dan light house tower song ship in at by".split()
ROWS = 52  # hardly more than the least number


def text(rng, length):
    return " ".join(rng.choices(WORDS, k=length))


def inputs_of(task):
    rng = random.Random(0)
    if task == "text-classification":
        return [{"text": text(rng, 40)} for _ in range(ROWS)]  # of one length: OpenVINO compiles kernels for each
    if task == "reranking":
        return [{"query": text(rng, 3), "passages": [text(rng, 30), text(rng, 30)]} for _ in range(ROWS)]
    return [{"question": text(rng, 4), "context": text(rng, 30)} for _ in range(ROWS)]


@pytest.fixture
def arguments(sizes, tokenizer, tmp_path):
    """A function from a task to the options of the command."""

    def make(task, layers=4, **more):
        if task == "reranking":
            pytest.importorskip("pytrec_eval", reason="needs the ranking extra")
        folder, file = tmp_path / "given", tmp_path / f"{task}.jsonl"
        config = BertConfig(**sizes | {"num_hidden_layers": layers}, num_labels=1 if task == "reranking" else 2)
        torch.manual_seed(5)
        model = (BertForQuestionAnswering if task == "question-answering" else BertForSequenceClassification)(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        file.write_text("\n".join(map(json.dumps, inputs_of(task))))
        options = {"model": str(folder), "texts": [str(file)], "output_dir": str(tmp_path / "out"), "task": task}
        options |= {"stride": 8} if task == "question-answering" else {}
        return options | {"num_evaluations": 4, "max_length": 100} | more

    return make


def words(options):
    lists = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return [str(word) for name, values in lists.items() for word in (f"--{name}", *values)]


def run_until(adaptation, name):
    """Runs the stages up to this one."""
    for stage in adaptation.stages:
        if stage.name not in adaptation.done:
            adaptation.run_stage(stage)
        if stage.name == name:
            return


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


@pytest.mark.intel
@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=marks) for task, marks in
             (("text-classification", ()), ("question-answering", pytest.mark.slow), ("reranking", pytest.mark.slow))]
)  # fmt: skip
def test_one_command(task, arguments, tokenizer, capsys):
    pytest.importorskip("nncf", reason="needs the intel extra")
    pytest.importorskip("optuna", reason="needs the search extra")
    options = arguments(task, layers=2)
    output = Path(options["output_dir"])
    assert main(["adapt", *words(options)]) == 0
    printed = capsys.readouterr().out
    estimate, _, rest = printed.partition("1 of 4: answers")
    assert "of at most 15 minutes" in estimate and estimate.count(" min\n") == 4
    assert "agreement" in rest and "times as fast as full" in rest and "100 %" in rest
    assert not {path.name for path in output.iterdir()} & {"start", "checkpoints"}
    model = load(output / "int8")
    assert (output / "int8" / "openvino_tokenizer.xml").exists()
    full = model.config.budgets["full"]
    assert full["metric"] == "agreement" and full["score"] > 50 and {"half", "third"} <= set(model.config.budgets)
    assert load(output / "model").config.budgets == model.config.budgets
    if task == "reranking":
        assert model.config.task == "reranking" and (output / "int8" / "modules.json").exists()
    card = (output / "int8" / "README.md").read_text()
    assert f"{task}.jsonl without labels" in card and "| agreement |" in card
    assert str(output.parent) not in card + (output / "int8" / "training.json").read_text()
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != "_adapt.json"}
    assert main(["adapt", *words(options)]) == 0  # nothing is left to do
    again = capsys.readouterr().out
    assert "holds the finished result" in again and "1 of 4" not in again and "times as fast as full" in again
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != "_adapt.json"} == before


@pytest.mark.parametrize("task", ["text-classification", "question-answering", "reranking"])
def test_answers_at_full_length_stay(task, arguments, tokenizer, tmp_path):
    options = arguments(task, learning_rate=1e-5)
    adaptation = Adaptation(AdaptArguments(**options))
    run_until(adaptation, "training")
    given, adapted = load(options["model"], task), load(Path(options["output_dir"]) / "model")
    config = adapted.config
    assert config.importance == "learned" and config.drop_layers == [0, 2] and config.task == task
    assert config.protect_first_segment == (task != "text-classification")
    read = DataOptions(max_length=100, stride=8)
    rows = get_task(task).load_unlabelled(options["texts"], read, given.config)
    evaluator = get_task(task).evaluator(tokenizer, rows, given.config, read)
    runs = [(given, {}), (adapted, {"budget": "full"}), (adapted, {"budget": "half"})]
    outputs = [run_sorted(model, tokenizer, evaluator.inputs, 16, **call) for model, call in runs]
    for name in outputs[0][0]:
        one, full, half = (np.concatenate([row[name] for row in rows]) for rows in outputs)
        # 10 steps at 1e-5 move the logits by a few hundredths of their spread; a shift of all changes no answer
        assert (full - one).std() < 0.1 * one.std()
        assert np.abs(half - full).max() > 0  # and tokens are dropped


def test_the_training_resumes_after_a_kill(arguments, tmp_path, caplog):
    options = arguments("text-classification")
    code = (
        "import sys, json; from hf_dynbert.adaptation.run import Adaptation; "
        "from hf_dynbert.adaptation.arguments import AdaptArguments; "
        "run = Adaptation(AdaptArguments(**json.loads(sys.argv[1]))); [run.run_stage(stage) for stage in run.stages[:2]]"
    )
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(options)], stderr=subprocess.DEVNULL)
    checkpoints = Path(options["output_dir"]) / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = Adaptation(AdaptArguments(**options))
    assert resumed.done == ["answers"] and resumed.estimate()[0][1] == "done"
    run_until(resumed, "training")
    assert "Training resumes from" in caplog.text
    whole = Adaptation(AdaptArguments(**options | {"output_dir": str(tmp_path / "whole")}))
    run_until(whole, "training")
    found, expected = weights(tmp_path / "out" / "model"), weights(tmp_path / "whole" / "model")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 2e-4}, "learning_rate: 0.0001 there, 0.0002 now"),
        ({"max_length": 90}, "max_length: 100 there, 90 now"),
        ("texts", "texts rows: other contents"),
        ("model", "starting weights and tokenizer: other contents"),
        ("record", "holds answers, but no _adapt.json"),
    ],
)
def test_another_run_never_passes_for_the_first(change, message, arguments, tmp_path):
    options = arguments("text-classification")
    run_until(Adaptation(AdaptArguments(**options)), "answers")
    if change == "texts":
        file = Path(options["texts"][0])
        file.write_text(file.read_text().replace("ada", "ben", 1))
    elif change == "record":
        (tmp_path / "out" / "_adapt.json").unlink()
    elif change == "model":
        model = AutoModelForSequenceClassification.from_pretrained(options["model"])
        model.classifier.bias.data += 1
        model.save_pretrained(options["model"])
    else:
        options |= change
    with pytest.raises(ValueError, match=message):
        Adaptation(AdaptArguments(**options))


def test_a_length_adaptive_model_keeps_its_scorers_and_budgets(arguments, make_model, tokenizer, tmp_path):
    budgets = {"mine": [1.0, 0.5, 0.5, 0.2]}
    model = make_model("text-classification", importance="learned", drop_layers=[1, 3], budgets=budgets)
    model.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    options = arguments("text-classification", model=str(tmp_path / "own"))
    with pytest.raises(ValueError, match="leave --drop_layers out"):
        Adaptation(AdaptArguments(**options | {"drop_layers": [0]}))
    run_until(Adaptation(AdaptArguments(**options)), "training")
    adapted = load(tmp_path / "out" / "model")
    assert adapted.config.budgets == budgets and adapted.config.drop_layers == [1, 3]
    scorers = [name for name in weights(tmp_path / "own") if "token_scorer" in name]
    before, after = weights(tmp_path / "own"), weights(tmp_path / "out" / "model")
    # each step moves a parameter of Adam by at most the learning rate, 3e-3: new scorers would be elsewhere
    assert all((before[name] - after[name]).abs().max() < 0.1 for name in scorers)


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("text-classification", {"rows": []}, "the file is empty"),
        ("text-classification", {"rows": [{"text": "ada"}] * 49}, "has 49 texts; valid are 50 and more"),
        ("text-classification", {"rows": [{"text": "ada"}] * 60 + [{"text": " "}]}, "row 60 has ' ' in column text"),
        ("text-classification", {"rows": "reranking"}, "A file of queries with their passages is for task reranking"),
        ("question-answering", {"rows": "text-classification"}, 'line 1 has no "question"'),
        ("question-answering", {"rows": [{"question": "who?", "context": "ada"}] * 60}, "questions on 1 contexts"),
        ("question-answering", {"rows": [{"question": "who?", "context": 7}]}, "line 1: the context is 7"),
        ("reranking", {"rows": "text-classification"}, "line 1 has no query"),
        ("reranking", {"rows": [{"query": "ada", "passages": ["ben"]}] * 60}, "no query has two passages"),
        ("text-classification", {"task": "question-answering"}, "is a model for text-classification"),
        ("text-classification", {"max_length": 1000}, "max_length is 1000; this model reads 128 tokens"),
        ("text-classification", {"drop_layers": [4]}, r"drop_layers is \[4\]; valid are some of 0 to 3"),
        ("text-classification", {"max_minutes": 0.01}, "max_minutes is 0.01; on this machine the shortest run"),
        ("text-classification", {"max_minutes": 0}, "max_minutes is 0; valid are numbers above 0"),
        ("text-classification", {"texts": ["nowhere.jsonl"]}, "nowhere.jsonl"),
        ("text-classification", {"text_columns": ["title"]}, "has no column title"),
        ("text-classification", {"stride": 8}, "--stride has no effect for task text-classification"),
        ("text-classification", {"model": "encoder"}, "has no head for a task"),
        ("text-classification", {"model": "encoder", "task": "text-classification"}, "Train the head first"),
    ],
)
def test_wrong_input_is_refused_before_any_work(task, change, message, arguments, sizes, tokenizer, tmp_path):
    options = arguments(task)
    rows = change.get("rows")
    if rows is not None:
        rows = inputs_of(rows) if isinstance(rows, str) else rows
        Path(options["texts"][0]).write_text("\n".join(map(json.dumps, rows)))
    if change.get("model") == "encoder":
        BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "encoder")
        tokenizer.save_pretrained(tmp_path / "encoder")
        options |= {"task": None} | change | {"model": str(tmp_path / "encoder")}
    else:
        options |= {name: value for name, value in change.items() if name != "rows"}
    with pytest.raises(ValueError, match=message):
        Adaptation(AdaptArguments(**options))
    assert not (tmp_path / "out").exists()


def test_an_exported_model_is_refused(arguments):
    options = arguments("text-classification")
    (Path(options["model"]) / "openvino_model.xml").write_text("<net/>")
    with pytest.raises(ValueError, match="is exported or in int8; give the PyTorch model"):
        Adaptation(AdaptArguments(**options))
