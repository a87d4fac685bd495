"""Two processes train what one process trains, in every setting of the objective."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification
from two_processes import PLAIN_TEXT, SETTINGS, STORED_ANSWERS, train_all


@pytest.fixture(scope="module")
def trained(sizes, tokenizer, tmp_path_factory):
    """What this process and two others trained, by setting."""
    root = tmp_path_factory.mktemp("processes")
    torch.manual_seed(0)
    for kind, width in (("students", 32), ("teachers", 48)):
        config = {**sizes, "hidden_size": width}
        for task, model in (
            ("qa", BertForQuestionAnswering(BertConfig(**config))),
            ("classes", BertForSequenceClassification(BertConfig(**config, num_labels=3))),
            ("rankings", BertForSequenceClassification(BertConfig(**config, num_labels=1))),
        ):
            model.save_pretrained(root / kind / task)
            tokenizer.save_pretrained(root / kind / task)
    (root / "text.txt").write_text("ada wrote the song by night.\nthe ship lit the tower at 9.\n\n" * 24)
    one, two = (root / name for name in ("one", "two"))
    one.mkdir()
    two.mkdir()
    train_all(root, one)
    script = Path(__file__).parent / "two_processes.py"
    # What `accelerate launch` runs for several processes; on CPUs it wants MPI instead
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, root, two]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run([*map(str, launch)], capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return one, two


@pytest.mark.parametrize("name", [*SETTINGS, PLAIN_TEXT, STORED_ANSWERS])
def test_two_processes_are_one(trained, name):
    one, two = (load_file(folder / f"{name}.safetensors") for folder in trained)
    assert one.keys() == two.keys()
    for key, value in one.items():
        # sums in another order, two SGD steps; a logged loss is rounded to four digits
        torch.testing.assert_close(two[key], value, atol=1e-3 if key == "losses" else 2e-5, rtol=1e-4)
    if "projection" in name:
        assert any(key.startswith("projection.") for key in one)
    assert name == STORED_ANSWERS or not any("teacher" in key for key in one)
