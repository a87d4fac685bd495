"""The stages of recipes: what runs, what is not repeated, what goes on."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hf_dynbert.commands.main import argument_classes
from hf_dynbert.commands.parsing import parse_arguments


RECIPES = Path(__file__).parents[2] / "recipes"
CHAINS = sorted(path.parent.name for path in RECIPES.glob("*/Makefile"))
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
# Writes what each verb writes last, and a line for each call; "train" stops halfway where a file says so
COMMAND = """
import sys
from pathlib import Path
verb, *words = sys.argv[1:]
last = {"train": "model.safetensors", "quantize": "quantization.json", "search": "front.json", "evaluate": "evaluation.json"}
options = {}
for word in words:
    if word.startswith("--"):
        name = word
    elif word.endswith(".yaml"):
        lines = Path(word).read_text().splitlines()
        options["--output_dir"] = next(line.split()[1] for line in lines if line.startswith("output_dir: "))
    else:
        options[name] = word
folder = Path(options["--model"] if verb == "evaluate" else options["--output_dir"])
folder.mkdir(parents=True, exist_ok=True)
with open("calls.txt", "a") as log:
    log.write(f"{verb} {folder.name}\\n")
(folder / "checkpoint").touch()
if Path("kill").exists() and Path("kill").read_text() == folder.name:
    sys.exit(137)
(folder / last.get(verb, "benchmark.json")).write_text("{}")
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "command.py").write_text(COMMAND)
    (tmp_path / "train.json").write_text("{}")
    (tmp_path / "dev.json").write_text("{}")
    return tmp_path


def make(work, chain, *words, command=None):
    command = command or f"{sys.executable} command.py"
    variables = [f"WORK={work}", f"HF_DYNBERT={command}", "DATA=train.json", "EVAL=dev.json"]
    return subprocess.run(
        ["make", "-C", str(RECIPES / chain), *variables, *words], capture_output=True, text=True, timeout=600
    )


def calls(work):
    """The calls since the last time."""
    path = work / "calls.txt"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    time.sleep(0.02)  # files written from here on are newer than those before: the clock of some file systems is coarse
    return found


ALL = {
    "dynamic-tinybert-squad": [
        "train bert-squad",
        "train dynamic-tinybert-squad-intermediate",
        "train dynamic-tinybert-squad-full",
        "train dynamic-tinybert-squad",
        "evaluate dynamic-tinybert-squad",
    ],
    "quala-minilm-squad": [
        "train mpnet-squad",
        "train minilm-squad-distilled",
        "train quala-minilm-squad-fp32",
        "quantize quala-minilm-squad",
        "quantize quala-minilm-squad-pytorch",
        "search quala-minilm-squad-search",
        "evaluate quala-minilm-squad",
        "evaluate quala-minilm-squad-fp32",
        "benchmark quala-minilm-squad-benchmark",
    ],
    "reranker-msmarco": [
        "train reranker-teacher",
        "train reranker",
        "quantize reranker-int8",
        "search reranker-search",
        "train reranker-l3",
        "quantize reranker-l3-int8",
    ],
    "simplified-tinybert": ["train pairs-teacher", "train simplified-tinybert"],
    "tinybert-squad": [
        "train bert-squad",
        "train tinybert-squad-intermediate",
        "train tinybert-squad",
        "evaluate tinybert-squad",
    ],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_stages_run_in_order_and_once(work, chain):
    plan = make(work, chain, "-n")
    assert plan.returncode == 0 and calls(work) == [], plan.stderr
    assert [line.split("command.py ")[1].split()[0] for line in plan.stdout.splitlines() if "command.py" in line] == [
        call.split()[0] for call in ALL[chain]
    ]
    finished = make(work, chain)
    assert finished.returncode == 0 and calls(work) == ALL[chain], finished.stderr
    assert make(work, chain).returncode == 0 and calls(work) == []
    assert "command.py" not in make(work, chain, "-n").stdout


@pytest.mark.parametrize("chain", CHAINS)
def test_what_starts_from_something_new_runs_again(work, chain):
    make(work, chain)
    calls(work)
    (work / "train.json").touch()
    assert make(work, chain).returncode == 0 and calls(work) == ALL[chain]
    changed = "teacher_OPTIONS=--budgets '{\"half\": [0.5, 0.4]}' --num_train_epochs 1"
    assert make(work, chain, changed).returncode == 0 and calls(work) == ALL[chain]
    assert make(work, chain, changed).returncode == 0 and calls(work) == []
    assert make(work, chain).returncode == 0 and calls(work) == ALL[chain]  # the options of before are others again


def test_the_stages_before_a_change_are_kept_and_the_old_folder_too(work):
    make(work, "simplified-tinybert")
    calls(work)
    (work / "outputs/simplified-tinybert/notes").write_text("mine")
    assert make(work, "simplified-tinybert", "student_OPTIONS=--seed 1").returncode == 0
    assert calls(work) == ["train simplified-tinybert"]
    assert [path.read_text() for path in work.glob("outputs/simplified-tinybert.old-*/notes")] == ["mine"]


def test_a_killed_stage_goes_on_in_its_folder(work):
    (work / "kill").write_text("simplified-tinybert")
    assert make(work, "simplified-tinybert").returncode != 0
    assert calls(work) == ALL["simplified-tinybert"]
    (work / "kill").unlink()
    assert make(work, "simplified-tinybert").returncode == 0 and calls(work) == ["train simplified-tinybert"]
    assert (work / "outputs/simplified-tinybert/checkpoint").exists()
    assert not list(work.glob("outputs/*.old-*"))


@pytest.mark.parametrize("chain", CHAINS)
def test_the_options_of_each_stage_are_valid(work, chain):
    plan = make(work, chain, "-n", command="hf-dynbert").stdout.splitlines()
    commands = [shlex.split(line)[4:] for line in plan if "&& hf-dynbert " in line]
    assert [words[0] for words in commands] == [call.split()[0] for call in ALL[chain]]
    for verb, *words in commands:
        output = ["--output_dir", str(work / "out")] if verb == "train" else []  # its arguments make the folder
        parse_arguments([*words, *output], argument_classes(verb))


def test_recipes_share_a_teacher(work):
    make(work, "tinybert-squad")
    calls(work)
    assert make(work, "dynamic-tinybert-squad").returncode == 0
    assert calls(work) == ALL["dynamic-tinybert-squad"][1:]


def test_a_stage_made_elsewhere_is_taken(work):
    (work / "outputs/pairs-teacher").mkdir(parents=True)
    (work / "outputs/pairs-teacher/model.safetensors").write_text("{}")
    assert make(work, "simplified-tinybert", "-t", "teacher").returncode == 0
    assert make(work, "simplified-tinybert").returncode == 0 and calls(work) == ["train simplified-tinybert"]


@pytest.mark.slow
def test_a_chain_trains_tiny_models(work, bert_folder):
    """The command itself, twice: the second time nothing is trained."""
    rows = [{"question": "who lit the tower?", "sentence": f"ada lit tower {i}.", "label": i % 2} for i in range(8)]
    (work / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = "--max_steps 2 --use_cpu --report_to none --per_device_train_batch_size 4 --max_length 32"
    words = ["DATA=train.jsonl", f"teacher_OPTIONS=--model_name_or_path {bert_folder} {small}"]
    words += [f"student_OPTIONS={small} --layers 0 1"]
    command = f"{sys.executable} -m hf_dynbert_cli"
    finished = make(work, "simplified-tinybert", *words, command=command)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr.count("train took ") == 2
    assert (work / "outputs/simplified-tinybert/model.safetensors").exists()
    again = make(work, "simplified-tinybert", *words, command=command)
    assert again.returncode == 0 and "train" not in again.stderr, again.stderr
