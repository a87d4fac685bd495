"""Every block of README runs, in its order, in one directory, with tiny stand-ins for the models and data it names."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hf_dynbert
from hf_dynbert.commands.main import main


ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
HAS_INTEL = bool(importlib.util.find_spec("nncf"))
WINDOWS = ["--max_length", "128", "--stride", "16"]
SMALL = {  # further options of a verb, so that it takes seconds
    "benchmark": ["--plain", "false", "--repeats", "1", "--max_length", "128", "--stride", "16"],
    "evaluate": [*WINDOWS, "--limit", "4", "--latency_samples", "2"],
    "quantize": ["--train_file", "my-squad.json", *WINDOWS, "--validation_fraction", "0.3", "--calibration_samples", "4"]
    + ["--accuracy_samples", "0"],
    "train": [*WINDOWS, "--max_steps", "1", "--report_to", "none", "--budgets", '{"half": [0.8, 0.6, 0.5, 0.3]}'],
    "search": ["--train_file", "my-squad.json", *WINDOWS, "--search_samples", "6", "--num_evaluations", "6"]
    + ["--validation_fraction", "0.7", "--latency_samples", "1"],
}
SIX, FOUR = "0.65, 0.65, 0.65, 0.275, 0.275, 0.275", "0.65, 0.65, 0.65, 0.275"  # the tiny model has four layers


@pytest.fixture(scope="module")
def world(bert_folder, articles_file, tmp_path_factory):
    """A working directory with the files that README reads, and stand-ins for the names that it uses."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    shutil.copy(articles_file, folder / "my-squad.json")
    (folder / "reviews.csv").write_text("text,label\n" + "ben lit the tower,good\nthe ship sank,bad\n" * 4)
    row = '{"query": "who built it", "positives": ["ada built it"], "negatives": ["the ship", "ben wrote"]}\n'
    (folder / "rankings.jsonl").write_text(row * 4)
    stand_ins = {
        "sentence-transformers/all-MiniLM-L6-v2": str(bert_folder),
        "my-org/mpnet-squad": str(bert_folder),
        "Intel/dynamic_tinybert": str(bert_folder),
        "rajpurkar/squad": "my-squad.json",
        "recipes/data/held-out.json": "my-squad.json",
        '"), 0.1)': '"), 0.3)',  # of so few questions a tenth is no article
        SIX: FOUR,
    }
    return folder, stand_ins


@pytest.fixture(scope="module")
def small_calls():
    """The library's own functions and classes with arguments by which README's calls take seconds."""

    def arguments(*args, **options):
        return hf_dynbert.DistillationArguments(*args, max_steps=1, use_cpu=True, report_to=[], **options)

    def windows(function):
        return lambda *args, **options: function(*args, max_length=128, stride=16, **options)

    return {
        "DistillationArguments": arguments,
        "evaluate_squad": windows(hf_dynbert.evaluate_squad),
        "training_features": windows(hf_dynbert.training_features),
        "teacher_predictions": windows(hf_dynbert.teacher_predictions),
    }


def test_every_block_runs_in_its_order(world, small_calls, hub, monkeypatch):
    folder, stand_ins = world
    monkeypatch.chdir(folder)
    names = {}
    blocks = [block for block in BLOCKS if HAS_INTEL or not needs_intel(block[1])]
    for language, block in blocks:
        for name, stand_in in stand_ins.items():
            block = block.replace(name, stand_in)
        if language == "python":
            run_python(block, names, small_calls)
        else:
            assert language == "bash"
            run_bash(block, folder, stand_ins)
    assert "ada/my-model" in hub.repos  # what push did
    if HAS_INTEL:
        names["model"].config.resolve_budget(names["fast_enough"])  # or an error


def needs_intel(block: str) -> bool:
    """Whether it makes or uses an int8 model for OpenVINO."""
    return "my-int8" in block or "squad/checkpoint" in block or "hf-dynbert run" in block


def run_python(block: str, names: dict, small_calls: dict) -> None:
    """Line by line of imports, then the rest, so that the small calls stand for what was imported."""
    lines = block.splitlines()
    imports = [line for line in lines if re.match(r"(from .* )?import ", line)]
    exec("\n".join(imports), names)  # noqa: S102 (our own README)
    names |= {name: call for name, call in small_calls.items() if name in names}
    exec("\n".join(line for line in lines if line not in imports), names)  # noqa: S102 (our own README)


def run_bash(block: str, folder: Path, stand_ins: dict) -> None:
    """Our verbs in this process; of make what it would do; of pip a build without its dependencies."""
    for line in block.replace("\\\n", "").splitlines():
        command, *rest = shlex.split(line, comments=True)
        if command == "hf-dynbert":
            rest = [word.replace("me/", "ada/") if word.startswith("me/") else word for word in rest]
            more = SMALL.get(rest[0], [])
            if {"reviews.csv", "rankings.jsonl"} & {*rest} and "--stride" in more:  # an option of questions alone
                more = more[: more.index("--stride")] + more[more.index("--stride") + 2 :]
            if rest[1].endswith("finetune.yaml"):  # the one that starts from the Hub
                more = [*more, "--model_name_or_path", stand_ins["sentence-transformers/all-MiniLM-L6-v2"]]
            assert main([*rest, *more]) == 0, line
        elif command == "make":
            subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, check=True, capture_output=True)
        else:
            assert command == "pip", line
            install(rest, folder)


def install(arguments: list[str], folder: Path) -> None:
    """Builds and installs a copy of the sources beside, without the network."""
    verb, source = arguments
    assert verb == "install" and re.fullmatch(r"\.(\[[\w,-]+\])?", source)
    copy = folder / "sources"
    shutil.copytree(
        ROOT / "hf_dynbert", copy / "hf_dynbert", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--upgrade", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, str(copy)], check=True, capture_output=True)
    assert (folder / "site" / "hf_dynbert" / "modeling_dynamic_tinybert.py").exists()
