"""Help of the command and of its verbs, as a person at a terminal gets it."""

import dataclasses
import re
import subprocess
import sys

import pytest
from transformers import TrainingArguments

from hf_dynbert import __version__
from hf_dynbert.commands.main import VERBS, argument_classes, main
from hf_dynbert.commands.parsing import make_parser
from hf_dynbert.commands.train import GROUPS


LINES = 60  # of a screen
HEAVY = {"torch", "transformers", "datasets", "openvino", "optimum", "nncf", "neural_compressor", "torchao", "matplotlib"}
# The command in a process of its own, and the heavy modules it imported
CODE = """
import sys, hf_dynbert_cli
sys.argv = ["hf-dynbert", *sys.argv[1:]]
status = hf_dynbert_cli.main()
print(sorted({name.partition(".")[0] for name in sys.modules} & set(%r)), file=sys.stderr)
sys.exit(status)
"""


def fields(verb):
    return [field for item in argument_classes(verb) for field in dataclasses.fields(item) if field.init]


@pytest.mark.parametrize("argv", [["--help"], ["help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_imports_nothing_heavy_and_fits_the_screen(argv):
    finished = subprocess.run([sys.executable, "-c", CODE % (HEAVY,), *argv], capture_output=True, text=True)
    assert finished.returncode == 0 and finished.stderr.strip() == "[]", finished.stderr
    assert 1 <= len(finished.stdout.splitlines()) <= LINES


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help_text(verb, capsys):
    assert main([verb, "--help-all" if verb == "train" else "--help"]) == 0
    options = re.split(r"^  (?=--)", capsys.readouterr().out, flags=re.M)[1:]
    own = {field.name for field in fields(verb)} - {field.name for field in dataclasses.fields(TrainingArguments)}
    without = []
    for option in options:
        name = re.match(r"--(\S+)", option)[1]
        if name in own and not re.match(r"--.*?(?:  +|\n +)(?!\(default)\w", option, re.S):
            without.append(name)
    assert without == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])
def test_help_of_a_verb(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hf-dynbert {verb} [RECIPE.yaml]")
    assert f"example: hf-dynbert {verb} " in text and "None" not in text
    shown = re.findall(r"^  --(\S+)", text, re.M)
    assert sorted(shown) == sorted(field.name for field in fields(verb))  # each option once
    assert main(["help", verb]) == 0
    assert capsys.readouterr().out == text


def test_help_of_training_groups_our_options(capsys):
    grouped = [name for names in GROUPS.values() for name in names]
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert sorted(grouped) == sorted(field.name for field in fields("train") if field.name not in inherited)
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", text) for name in grouped) and "--help-all" in text
    assert "example: hf-dynbert train " in text
    assert main(["train", "--help-all"]) == 0
    everything = capsys.readouterr().out
    shown = re.findall(r"^  --(\S+)", everything, re.M)
    assert sorted(shown) == sorted(field.name for field in fields("train"))
    assert "(default: None)" not in everything


@pytest.mark.parametrize("argv", [["--version"], ["version"]])
def test_version(argv, capsys):
    assert main(argv) == 0 and capsys.readouterr().out == f"hf_dynbert {__version__}\n"


def test_the_overview_names_each_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {verb} ", text, re.M) for verb in VERBS)
    assert main([]) == 2  # a verb is missing
    assert capsys.readouterr().out == text


@dataclasses.dataclass
class Inherited:
    """Some options.

    Args:
        tokens (`int`): most tokens of an input. More is cut.
        kept (`bool`): see the subclass.
    """

    tokens: int = 3
    kept: bool = False


@dataclasses.dataclass
class Described(Inherited):
    """More options, see [`Inherited`].

    Args:
        low, high (`tuple[int, int]` or `float`, *optional*, defaults to (1, 2)): limits of a range that
            [`~package.Inherited`] uses; `None` for none.
        kept (`bool`): whether it is kept.

    Raises:
        ValueError: never.
    """

    low: int | None = None
    high: float = 2.0


def test_the_help_of_an_option_is_the_first_sentence_of_its_docstring():
    text = make_parser("hf-dynbert verb", [Described]).format_help()
    text = " ".join(text.split())
    limits = "Limits of a range that Inherited uses; None for none."
    assert f"--low VALUE {limits} --high VALUE {limits} (default: 2.0)" in text
    assert "--tokens VALUE Most tokens of an input. (default: 3) --kept [true|false] Whether it is kept." in text
