"""`hf-dynbert predict` for every task: one input, and a file of inputs."""

import json

import pyarrow
import pytest
import torch
from pyarrow import parquet
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


def write_rows(path, rows):
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
        parquet.write_table(table, path, row_group_size=4)
    else:
        path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")


def read_folder(folder):
    """The lines of all parts in their order."""
    lines = []
    for path in sorted(folder.glob("part-*")):
        is_parquet = path.suffix == ".parquet"
        found = parquet.read_table(path).to_pylist() if is_parquet else map(json.loads, path.read_text().splitlines())
        lines += found
    return lines


def make_rows(task, number=11):
    first = next(iter(INPUTS[task]))
    texts = ["ada", "ben wrote the song", "the ship in the house at 1907 by night", "light"]
    return [INPUTS[task] | {first: f"{texts[index % 4]} {INPUTS[task][first]}"} for index in range(number)]


@pytest.fixture
def kinds(tmp_path):
    """The same eleven rows in two files, by kind; the second one has ids."""

    def make(task):
        rows = make_rows(task)
        for kind in ("jsonl", "parquet"):
            write_rows(tmp_path / kind / f"1.{kind}", rows[:7])
            write_rows(tmp_path / kind / f"2.{kind}", [row | {"id": 100 + index} for index, row in enumerate(rows[7:])])
        return rows, [*range(7), *range(100, 104)]

    return make


def test_folders_are_predicted_in_blocks_and_completed(task, folder, kinds, tmp_path, capsys):
    rows, ids = kinds(task)
    for kind in ("jsonl", "parquet"):
        output = tmp_path / f"{kind}-predictions"
        argv = ["predict", "--model", folder, "--data", str(tmp_path / kind), "--output", str(output), "--block_rows", "3"]
        assert main(argv) == 0 and "11 predictions" in capsys.readouterr().out
        parts = [f"part-{index:05d}.{kind}" for index in range(5)]  # blocks of 3, 3, 1 and 3, 1 rows
        assert sorted(path.name for path in output.iterdir()) == ["_predict.json", *parts]
        first_run = read_folder(output)
        assert [line["id"] for line in first_run] == ids
        for row, line in zip(rows, first_run, strict=True):
            right = expected(task, folder, row)
            right, found = (x if isinstance(x, list) else [x] for x in (right, line["prediction"]))
            assert [list(item) for item in found] == [list(item) for item in right]
            scores = [item["score"] for item in right]
            # the batch changes the order of float sums
            assert [item["score"] for item in found] == pytest.approx(scores, rel=1e-4, abs=1e-5)
        times = {name: (output / name).stat().st_mtime_ns for name in parts}
        for name in (parts[1], parts[4]):  # as a run leaves them that was killed
            (output / name).unlink()
        assert main(argv) == 0 and "has 3 of 5 files; 2 are to be written" in capsys.readouterr().out
        assert read_folder(output) == first_run
        written = [name for name in parts if (output / name).stat().st_mtime_ns != times[name]]
        assert written == [parts[1], parts[4]]


def test_another_run_is_refused_in_a_folder(folder, kinds, task, tmp_path, capsys):
    kinds(task)
    output, data = tmp_path / "predictions", tmp_path / "jsonl"
    argv = ["predict", "--model", folder, "--data", str(data), "--output", str(output)]
    assert main(argv) == 0
    before = read_folder(output)
    for option, value in {"budget": "half", "batch_size": "3", "max_length": "20", "block_rows": "5"}.items():
        assert main([*argv, f"--{option}", value]) == 2
        error = capsys.readouterr().err
        assert f"differs in {option}: " in error and f"{value!r} now".replace("'", "") in error.replace("'", "")
    write_rows(data / "2.jsonl", make_rows(task, 3))
    assert main(argv) == 2 and "rows: other contents of 2.jsonl" in capsys.readouterr().err
    (output / "_predict.json").unlink()
    assert main(argv) == 2 and "no _predict.json, the record of its run" in capsys.readouterr().err
    assert read_folder(output) == before


def test_rows_select_their_budgets(task, folder, tmp_path, capsys):
    rows = make_rows(task, 6)
    budgets = [None, "half", [0.9, 0.4, 0.4, 0.2], "full", "half", None]
    write_rows(tmp_path / "inputs.jsonl", [row | {"budget": budget} for row, budget in zip(rows, budgets, strict=True)])
    output = tmp_path / "predictions.jsonl"
    argv = ["predict", "--model", folder, "--data", str(tmp_path / "inputs.jsonl"), "--output", str(output)]
    assert main([*argv, "--budget", "half"]) == 0
    for row, budget, line in zip(rows, budgets, output.read_text().splitlines(), strict=True):
        right, found = expected(task, folder, row, budget=budget or "half"), json.loads(line)["prediction"]
        right, found = (x if isinstance(x, list) else [x] for x in (right, found))
        scores = [item["score"] for item in right]
        # the batch changes the order of float sums
        assert [item["score"] for item in found] == pytest.approx(scores, rel=1e-4, abs=1e-5)
    wrong = {
        "line 1: This model has no budget": {"budget": "medium"},
        "line 1: max_latency_ms is -1": {"max_latency_ms": -1},
        "line 1 has budget and max_latency_ms": {"budget": "half", "max_latency_ms": 5},
    }
    for message, fields in wrong.items():
        write_rows(tmp_path / "inputs.jsonl", [rows[0] | fields])
        assert main(argv) == 2
        assert message in capsys.readouterr().err


def test_wrong_files_and_engines_are_refused(folder, task, kinds, tmp_path, capsys):
    kinds(task)
    jsonl, mixed, empty = tmp_path / "jsonl", tmp_path / "mixed", tmp_path / "empty"
    for path in (mixed / "a.jsonl", mixed / "a.parquet", empty / "a.csv"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    (tmp_path / "broken.parquet").write_text("no Parquet")
    wrong = {
        "has no ending: --output": [jsonl, "predictions.jsonl"],
        "--output x.jsonl is a file": [tmp_path / "parquet" / "1.parquet", "x.jsonl"],
        "holds .jsonl and .parquet files": [mixed, "predictions"],
        "a folder of .jsonl or of .parquet files": [empty, "predictions"],
        "cannot be read as Parquet": [tmp_path / "broken.parquet", "predictions"],
        "--num_workers is for --engine ray": [jsonl, "predictions", "--num_workers", "2"],
        "--block_rows is 0": [jsonl, "predictions", "--block_rows", "0"],
        "valid are": [jsonl, "predictions", "--engine", "dask"],
    }
    for message, (data, output, *options) in wrong.items():
        assert main(["predict", "--model", folder, "--data", str(data), "--output", output, *options]) == 2
        assert message in capsys.readouterr().err.replace("choose from", "valid are")
    assert not (tmp_path / "predictions").exists()
