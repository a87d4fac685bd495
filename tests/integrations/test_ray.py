"""Workers of Ray: the class for `map_batches`, and `hf-dynbert predict --engine ray`."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from transformers import pipeline


ray = pytest.importorskip("ray", reason="make test-integrations installs it")
pytest.importorskip("optimum.intel", reason="needs the intel extra")

import hf_dynbert  # noqa: E402  (after the skips)
from hf_dynbert.commands.main import main  # noqa: E402
from hf_dynbert.integrations.ray import BatchPredictor  # noqa: E402


TEXTS = ["ada lit the tower by night.", "the ship", "ben wrote the song in 1907", "cleo keeps the light " * 5]
WAIT = 300  # seconds: a limit for a machine that is very busy; the tests need a tenth
# Starts and runs the command in a process of its own, without a network
COMMAND = "import sys; from hf_dynbert.commands.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def folder(sizes, tokenizer, tmp_path_factory):
    """A tiny classifier in OpenVINO."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    budgets = {"half": [0.8, 0.6, 0.5, 0.3]}
    config = hf_dynbert.DynamicTinyBertConfig(**sizes, num_labels=3, budgets=budgets, min_tokens_to_drop=0)
    hf_dynbert.DynamicTinyBertForSequenceClassification(config).save_pretrained(folder / "torch")
    model = hf_dynbert.OVDynamicTinyBertForSequenceClassification.from_pretrained(folder / "torch", export=True)
    model.save_pretrained(folder / "openvino")
    tokenizer.save_pretrained(folder / "openvino")
    return str(folder / "openvino")


def write_rows(path, number):
    rows = [{"id": f"row-{index}", "text": f"{TEXTS[index % 4]} {index}"} for index in range(number)]
    path.write_text("\n".join(json.dumps(row) for row in rows))


def test_map_batches_predicts_at_the_budget_of_each_row(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    class Predictor(BatchPredictor):
        """Adds the threads of the model to each row."""

        def __call__(self, batch):
            return super().__call__(batch) | {"threads": [self.model.threads] * len(batch["text"])}

    rows = [
        {"key": f"row-{index}", "text": text, "budget": budget}
        for index, (text, budget) in enumerate((text, budget) for budget in (None, "half", "full") for text in TEXTS)
    ]
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        data = ray.data.from_items(rows)
        found = data.map_batches(
            Predictor,
            fn_constructor_kwargs={"model": folder},
            batch_size=5,
            num_cpus=2,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        found = sorted(found.take_all(), key=lambda row: int(row["key"].removeprefix("row-")))
    finally:
        ray.shutdown()
    classify = pipeline("text-classification", model=folder)
    assert [(row["key"], row["text"], row["budget"]) for row in found] == [tuple(row.values()) for row in rows]
    for row in found:
        right = classify(row["text"], budget=row["budget"])[0]
        assert row["prediction"]["label"] == right["label"]
        # padding of a batch: float sums in another order
        assert row["prediction"]["score"] == pytest.approx(right["score"], abs=1e-5)
    assert {row["threads"] for row in found} == {2}  # its num_cpus


def test_a_killed_worker_loses_and_repeats_no_row(folder, tmp_path):
    write_rows(tmp_path / "inputs.jsonl", 1200)
    argv = ["predict", "--model", folder, "--data", str(tmp_path / "inputs.jsonl"), "--budget", "half"]
    argv += ["--block_rows", "6"]
    assert main([*argv, "--output", str(tmp_path / "local")]) == 0

    command = [sys.executable, "-c", COMMAND, *argv, "--output", str(tmp_path / "ray"), "--engine", "ray"]
    command += ["--num-workers", "2", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        worker = wait_for_worker(process, tmp_path / "ray")
        worker.send_signal(signal.SIGKILL)
        written = len(list((tmp_path / "ray").glob("part-*")))
        _, errors = process.communicate(timeout=WAIT)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert 0 < written < 200  # the worker died in the middle of the work
    names = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert len(names) == 201 and names == sorted(path.name for path in (tmp_path / "ray").iterdir())
    lines = []
    for name in names:
        assert (tmp_path / "ray" / name).read_text() == (tmp_path / "local" / name).read_text()
        if name.startswith("part-"):
            lines += [json.loads(line) for line in (tmp_path / "ray" / name).read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"row-{index}" for index in range(1200)]


def wait_for_worker(process, folder):
    """A process that predicts, once the first file is there."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end and process.poll() is None:
        if any(folder.glob("part-*")):
            children = psutil.Process(process.pid).children(recursive=True)
            return next(child for child in children if "BlockWriter" in " ".join(child.cmdline()))
        time.sleep(0.01)
    raise AssertionError(f"no file was written; the exit status is {process.poll()}")


def test_an_engine_that_is_not_there_is_refused(folder, tmp_path, capsys):
    write_rows(tmp_path / "inputs.jsonl", 2)
    argv = ["predict", "--model", folder, "--data", str(tmp_path / "inputs.jsonl"), "--output", str(tmp_path / "x.jsonl")]
    assert main([*argv, "--engine", "ray"]) == 2
    assert "--engine ray, folders and Parquet need a folder" in capsys.readouterr().err
