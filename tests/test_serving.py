"""The examples of docs/serving.md run as they are written."""

import inspect
import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

REPOSITORY = Path(__file__).parents[1]
CHECKPOINT = Path("recipes/quala-minilm-squad/checkpoint")


class FastAPI:
    """Stands for FastAPI where it is not installed: keeps the functions by their path."""

    def __init__(self):
        self.functions = {}

    def get(self, path):
        def keep(function):
            self.functions[path] = function
            return function

        return keep


@pytest.fixture(scope="module")
def examples():
    text = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    service, raw, export, _ = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return {"service": service, "raw": raw, "export": export}


@pytest.fixture
def in_repository(monkeypatch, tmp_path):
    """The examples name the checkpoint by its path in the repository, and write into `outputs`. Two budgets are timed."""
    folder = tmp_path / CHECKPOINT
    shutil.copytree(REPOSITORY / CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text())
    config["budgets"] = {name: config["budgets"][name] for name in ("full", "balanced")}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))


def test_the_web_service(examples, in_repository, monkeypatch):
    module = types.ModuleType("fastapi")
    module.FastAPI = FastAPI
    monkeypatch.setitem(sys.modules, "fastapi", module)
    names = {}
    exec(examples["service"], names)
    answer = names["app"].functions["/answer"]
    assert not inspect.iscoroutinefunction(answer)  # FastAPI runs plain functions in threads
    question, context = "Who wrote the report?", "The report was written by Ada Lund in 1907."
    context += (
        " It describes the harbour, the two piers and the boats that carry salt to the north." * 18
    )  # long enough to gain
    slow, quick = answer(question, context, 1e9), answer(question, context, 1e-6)
    assert slow["answer"] == quick["answer"] == "Ada Lund" and 0 < slow["score"] <= 1
    assert slow["budget"] != quick["budget"]


def test_raw_openvino(examples, in_repository):
    names = {}
    exec(examples["raw"], names)
    inputs, start, end = names["inputs"], names["start"], names["end"]
    span = slice(int(np.argmax(start)), int(np.argmax(end)) + 1)
    assert names["tokenizer"].decode(inputs["input_ids"][0][span]).lower() == "ada"


def test_the_export_for_model_servers(examples, in_repository):
    exec(examples["export"], {})
    import openvino

    model = openvino.Core().read_model("outputs/served/1/openvino_model.xml")
    found = [(node.any_name, node.get_element_type().get_type_name(), len(node.partial_shape)) for node in model.inputs]
    assert found == [
        ("input_ids", "i64", 2),
        ("attention_mask", "i64", 2),
        ("token_type_ids", "i64", 2),
        ("length_config", "i32", 1),
    ]
