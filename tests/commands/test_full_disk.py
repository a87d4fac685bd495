"""A disk that is full while a verb writes: one line of error, and the files of before stay as they were."""

import json
import subprocess
import sys

import pytest

from hf_dynbert.backbones.folder import convert
from hf_dynbert.commands.main import main


resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX's")

# Runs each command line with the largest size that a file may have; the system then refuses to write, as on a full disk
CODE = """
import contextlib, io, json, resource, sys
from hf_dynbert.commands.main import main
for size, argv in json.loads(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = main(argv)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("RESULT", json.dumps([status, errors.getvalue()]))
"""
WEIGHTS, INT8, OPTIMIZER, RECORD = 50_000, 20_000, 250_000, 100  # bytes: less than weights in floats, in int8, and so on


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_leaves_the_files_of_before(bert_folder, articles_file, tmp_path):
    model = convert(str(bert_folder), tmp_path / "model")
    output = convert(str(bert_folder), tmp_path / "converted")
    predictions = tmp_path / "predictions.json"
    predictions.write_text("{}")
    before = contents(model), contents(output)
    windows = ["--max_length", "120", "--stride", "8"]
    evaluate = ["evaluate", "--model", str(model), "--data", str(articles_file), "--limit", "4", "--latency_samples", "0"]
    train = ["train", "--model_name_or_path", str(bert_folder), "--train_file", str(articles_file), "--max_steps", "1"]
    train += ["--use_cpu", "--report_to", "none", "--output_dir", str(tmp_path / "trained"), *windows]
    quantize = ["quantize", "--model", str(model), "--train_file", str(articles_file), "--backend", "pytorch"]
    commands = [
        (WEIGHTS, ["convert", "--model", str(bert_folder), "--output_dir", str(output)]),
        (INT8, [*quantize, "--output_dir", str(tmp_path / "quantized"), "--accuracy_samples", "0", *windows]),
        (WEIGHTS, train),
        (OPTIMIZER, [*train, "--save_strategy", "steps", "--save_steps", "1"]),
        (RECORD, [*evaluate, "--save", *windows]),
        (RECORD, [*evaluate, "--predictions", str(predictions), *windows]),
    ]
    finished = subprocess.run([sys.executable, "-c", CODE, json.dumps(commands)], capture_output=True, text=True)
    results = [json.loads(line[7:]) for line in finished.stdout.splitlines() if line.startswith("RESULT")]
    assert len(results) == len(commands), finished.stderr[-3000:]
    for (status, errors), (_, argv) in zip(results, commands, strict=True):
        lines = [line for line in errors.splitlines() if line.startswith("hf-dynbert: ")]
        assert status == 2 and len(lines) == 1 and "Traceback" not in errors, (argv, errors)
        assert "too large" in lines[0], lines[0]  # what the system says
    assert main(train) == 0  # after the checkpoint that was not finished
    assert (contents(model), contents(output)) == before and predictions.read_text() == "{}"
    assert not list(tmp_path.glob("quantized/config.json"))
    assert not list(tmp_path.rglob(".writing-*"))
