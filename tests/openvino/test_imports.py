"""Importing the OpenVINO part: registered with Optimum, silent, without a network and without a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

REPOSITORY = Path(__file__).parents[2]
# Every way out of a process ends it; threads that swallow the exception are seen by the file
CLOSED_NETWORK = """
import os, socket, sys

def refuse(*args, **kwargs):
    with open(os.environ["TRIED"], "a") as file:
        file.write(f"{args}\\n")
    raise OSError("this network is closed")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""
# The modules that import OpenVINO, NNCF or Optimum before any other module of ours can
IMPORTS = [
    "from hf_dynbert import OVDynamicTinyBertForQuestionAnswering",
    "import hf_dynbert.benchmarking.entries",
    "import hf_dynbert.quantization.nncf_static",
]


def run(code, home, **environment):
    """A new process; HOME is a folder of the test, and no variable says that it runs under pytest or in CI."""
    names = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    env = {name: os.environ[name] for name in names if name in os.environ}
    env |= {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)


@pytest.mark.parametrize("statement", IMPORTS)
def test_imports_use_no_network_and_write_no_file(statement, tmp_path):
    home, tried = tmp_path / "home", tmp_path / "tried"
    home.mkdir()
    wait = "\nimport threading, time\ntime.sleep(0.5)\nassert threading.active_count() == 1, threading.enumerate()"
    wait += "\nimport openvino_telemetry"  # other programs may use it
    result = run(CLOSED_NETWORK + statement + wait, home, HF_HUB_OFFLINE="1", TRIED=str(tried))
    assert result.returncode == 0, result.stderr
    assert not tried.exists(), tried.read_text()
    assert list(home.rglob("*")) == [] and result.stdout == ""


def test_optimums_own_class_exports_after_the_import(make_model, tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    code = f"""
import hf_dynbert.openvino
from optimum.intel import OVModelForQuestionAnswering
model = OVModelForQuestionAnswering.from_pretrained({str(tmp_path / "model")!r}, export=True, compile=False)
print(type(model).__name__, sorted(model.input_names))
"""
    result = run(code, tmp_path)
    assert result.stdout.endswith("OVModelForQuestionAnswering ['attention_mask', 'input_ids', 'token_type_ids']\n"), (
        result.stderr
    )


def test_optimum_cli_exports_our_checkpoints(make_model, tokenizer, tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    export = ["export", "openvino", "--model", str(tmp_path / "model"), "--task", "question-answering", str(tmp_path / "ov")]
    code = f"import sys; sys.argv = ['optimum-cli', *{export}]; from optimum.commands.optimum_cli import main; main()"
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "ov" / "openvino_model.xml").exists()
