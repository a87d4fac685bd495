"""`hf-dynbert predict` for every task: one input, and a file of inputs."""

import json

import pytest
import torch
from transformers import pipeline

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification
from hf_dynbert.commands.main import main


BUDGETS = {"half": [0.8, 0.6, 0.5, 0.3]}
INPUTS = {
    "question-answering": {"question": "who lit the tower?", "context": "ada lit the tower by night."},
    "text-classification": {"text": "ada lit the tower", "text_pair": "by night."},
    "reranking": {"query": "who lit the tower?", "passages": ["ada lit the tower", "the ship", "a light by night"]},
}
PIPELINES = {
    "question-answering": "extractive-qa",
    "text-classification": "text-classification",
    "reranking": "text-reranking",
}


@pytest.fixture(params=list(INPUTS))
def task(request):
    return request.param


@pytest.fixture
def folder(task, sizes, make_model, tokenizer, tmp_path):
    """A model for the task; a reranker is one by `config.task`."""
    if task == "question-answering":
        model = make_model(budgets=BUDGETS, min_tokens_to_drop=0)
    else:
        torch.manual_seed(0)
        fields = {"num_labels": 1, "task": task} if task == "reranking" else {"num_labels": 3}
        model = DynamicTinyBertForSequenceClassification(
            DynamicTinyBertConfig(**sizes, **fields, budgets=BUDGETS, min_tokens_to_drop=0)
        )
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def options_of(inputs):
    values = {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}
    return [word for name, words in values.items() for word in (f"--{name}", *words)]


def expected(task, folder, inputs, **options):
    found = pipeline(PIPELINES[task], model=folder)(inputs, **options)
    return found[0] if task == "text-classification" and isinstance(found, list) else found


@pytest.mark.parametrize("budget", [None, "half"])
def test_one_input_is_predicted_as_by_the_pipeline(task, folder, budget, capsys):
    budgets = [] if budget is None else ["--budget", budget]
    assert main(["predict", "--model", folder, *options_of(INPUTS[task]), *budgets, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = expected(task, folder, INPUTS[task], budget=budget)
    assert json.dumps(found) == json.dumps(right)
    assert main(["predict", "--model", folder, *options_of(INPUTS[task]), *budgets]) == 0
    first = right[0] if isinstance(right, list) else right
    assert str(first.get("answer") or first.get("label") or first.get("text")) in capsys.readouterr().out


def test_a_file_is_predicted_line_by_line(task, folder, tmp_path, capsys):
    words = ["ada", "ben wrote the song", "the ship in the house at 1907", "light"] * 5
    first, second = INPUTS[task]
    rows = [INPUTS[task] | {first: f"{text} {INPUTS[task][first]}"} for text in words]
    rows[3] |= {"id": "fourth", "title": "not used"}
    data, output = tmp_path / "inputs.jsonl", tmp_path / "predictions.jsonl"
    data.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8-sig")
    argv = ["predict", "--model", folder, "--data", str(data), "--output", str(output), "--budget", "half"]
    for batch in ("1", "7"):
        assert main([*argv, "--batch_size", batch]) == 0
        assert "20 predictions" in capsys.readouterr().out
        lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert [line["id"] for line in lines] == [0, 1, 2, "fourth", *range(4, 20)]
        for row, line in zip(rows[:4], lines, strict=False):
            right = expected(task, folder, {name: row[name] for name in INPUTS[task]}, budget="half")
            scores, found = (
                [item["score"] for item in (x if isinstance(x, list) else [x])] for x in (right, line["prediction"])
            )
            assert found == pytest.approx(scores, rel=1e-4, abs=1e-5)  # the batch changes the order of float sums


def test_wrong_lines_are_refused_before_any_work(task, folder, tmp_path, capsys):
    first, second = INPUTS[task]
    wrong = {
        "no object": "[1]",
        "is not JSON": "{",
        f"has {first} None": json.dumps({second: INPUTS[task][second]}),
        f"has {first} ' '": json.dumps(INPUTS[task] | {first: " "}),
        f"has {second} 5": json.dumps(INPUTS[task] | {second: 5}),
    }
    for message, line in wrong.items():
        data, output = tmp_path / "inputs.jsonl", tmp_path / "predictions.jsonl"
        data.write_text(json.dumps(INPUTS[task]) + "\n" + line + "\n")
        assert main(["predict", "--model", folder, "--data", str(data), "--output", str(output)]) == 2
        error = capsys.readouterr().err
        assert f"{data}, line 2" in error and message.replace("no object", "must be an object") in error
        assert not output.exists()


def test_inputs_of_another_task_are_refused(task, folder, capsys):
    for other, inputs in INPUTS.items():
        if other != task:
            assert main(["predict", "--model", folder, *options_of(inputs)]) == 2
            assert ", ".join(INPUTS[task]) in capsys.readouterr().err
    wrong = {
        "needs one input": [],
        "--data inputs.jsonl --output": ["--data", "x.jsonl"],
        "No such file": ["--data", "nowhere.jsonl", "--output", "x.jsonl"],
    }
    for message, argv in wrong.items():
        assert main(["predict", "--model", folder, *argv]) == 2
        assert message in capsys.readouterr().err
