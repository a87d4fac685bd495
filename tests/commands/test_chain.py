"""A chain does what is to do, nothing twice, and never goes on from what was made of other inputs."""

import json
from pathlib import Path

import pytest
from conftest import LENGTH_CONFIGS

from hf_dynbert.commands import main as cli
from hf_dynbert.commands.chain import CHANGED, DONE, FOUND, NEW, RESUMES, WAITS, Chain, read_chain
from hf_dynbert.commands.parsing import known_options, parse_arguments


KNOWN = {
    "train": ["data", "hub_token", "learning_rate", "logging_steps", "model_name_or_path", "output_dir"],
    "quantize": ["data", "model", "output_dir"],
    "search": ["model", "num_evaluations", "output_dir", "save_to"],
    "evaluate": ["data", "model", "save"],
}
STAGES = {
    "first": "train first.yaml",
    "second": "train second.yaml --model_name_or_path out/first",
    "int8": "quantize --model out/second --output_dir out/int8 --data questions.json",
    "budgets": "search --model out/int8 --output_dir out/search",
    "measured": "evaluate --model out/int8 --save",
}


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """A folder with a chain of pretended stages, which log what they do."""
    monkeypatch.chdir(tmp_path)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "chain.yaml").write_text("stages:\n" + "".join(f"  {name}: {line}\n" for name, line in STAGES.items()))
    (recipes / "first.yaml").write_text("output_dir: out/first\ndata: questions.json\nlearning_rate: 1.0e-4\n")
    (recipes / "second.yaml").write_text("output_dir: out/second\nlogging_steps: 5\n")
    (tmp_path / "questions.json").write_text("some")
    return Kitchen(tmp_path)


class Kitchen:
    def __init__(self, folder: Path):
        self.folder, self.log, self.said, self.fails = folder, [], [], None

    def chain(self, *more: str) -> Chain:
        return Chain(read_chain("recipes", more, KNOWN), self.folder / "out" / "chain.json")

    def states(self, *more: str) -> list[str]:
        return [position.state for position in self.chain(*more).positions().values()]

    def run(self, *more: str, adopt=(), redo=()) -> list[str]:
        """What ran."""
        self.log = []
        self.chain(*more).run(self.call, adopt, redo, self.said.append)
        return self.log

    def call(self, stage, lock):
        self.log.append(stage.name)
        if stage.name == self.fails:
            (stage.folder / "checkpoint-1").mkdir(parents=True)
            raise ValueError("killed")
        stage.result.parent.mkdir(parents=True, exist_ok=True)
        if stage.verb in ("train", "quantize"):
            (stage.folder / "model.safetensors").write_text(f"made after {len(self.said)} words")
        stage.result.write_text("made")


def test_everything_runs_once(kitchen):
    assert kitchen.states() == [NEW, WAITS, WAITS, WAITS, WAITS]
    assert kitchen.run() == list(STAGES)
    assert kitchen.states() == [DONE] * 5
    assert kitchen.run() == []
    record = json.loads((kitchen.folder / "out" / "chain.json").read_text())
    assert all(entry["finished"] and entry["minutes"] >= 0 for entry in record.values())


def test_what_was_killed_goes_on_in_its_folder(kitchen):
    kitchen.fails = "second"
    with pytest.raises(ValueError, match="killed"):
        kitchen.run()
    assert kitchen.states() == [DONE, RESUMES, WAITS, WAITS, WAITS]
    kitchen.fails = None
    assert kitchen.run() == ["second", "int8", "budgets", "measured"]
    assert (kitchen.folder / "out" / "second" / "checkpoint-1").exists()  # it could resume there


@pytest.mark.parametrize(
    ("more", "redo", "again"),
    [
        (["--learning_rate", "2.0e-4"], ["first"], list(STAGES)),
        (["--second.learning_rate", "2.0e-4"], ["second"], ["second", "int8", "budgets", "measured"]),
        (["--int8.data", "other.json"], ["int8"], ["int8", "budgets", "measured"]),
        (["--logging_steps", "1"], [], []),  # changes nothing that comes out
        (["--measured.data", "other.json"], [], ["measured"]),  # leaves nothing to set aside
    ],
)
def test_other_options_are_other_inputs(kitchen, more, redo, again):
    kitchen.run()
    for name in redo[:1]:
        with pytest.raises(ValueError, match=f"{name}: .* was .*, and is .*begin it again with --redo {name}"):
            kitchen.run(*more)
        assert kitchen.log == []
    assert kitchen.run(*more, redo=redo) == again
    assert kitchen.run(*more) == []


def test_what_is_done_is_made_again_where_asked(kitchen):
    kitchen.run()
    assert kitchen.run(redo=["int8"]) == ["int8", "budgets", "measured"]
    assert (kitchen.folder / "out" / "int8.old-1").exists() and (kitchen.folder / "out" / "search.old-1").exists()
    assert kitchen.run("--num_evaluations", "200", redo=["budgets"]) == ["budgets", "measured"]  # not from what it had
    assert (kitchen.folder / "out" / "search.old-2").exists()
    kitchen.fails = "budgets"
    with pytest.raises(ValueError, match="killed"):
        kitchen.run(redo=["budgets"])
    kitchen.fails = None
    assert kitchen.run() == ["budgets", "measured"] and kitchen.run() == []


def test_a_stages_own_word_is_the_last(kitchen):
    (stage, other, *_) = kitchen.chain("--first.learning_rate", "1", "--learning_rate", "2").stages
    assert (stage.options["learning_rate"], other.options["learning_rate"]) == (["1"], ["2"])


def test_what_others_put_in_its_place_is_noticed(kitchen):
    kitchen.run()
    (kitchen.folder / "out" / "int8" / "model.safetensors").write_text("of somebody else")
    assert kitchen.states() == [DONE, DONE, FOUND, WAITS, WAITS]
    with pytest.raises(ValueError, match="out/int8, where int8 belongs, holds what this chain did not make"):
        kitchen.run()
    assert kitchen.run(adopt=["int8"]) == ["budgets", "measured"]


def test_a_record_is_of_a_folder(kitchen):
    kitchen.run()
    (kitchen.folder / "elsewhere").mkdir()
    (kitchen.folder / "elsewhere" / "config.json").write_text("of somebody else")
    with pytest.raises(ValueError, match="elsewhere, where first belongs, holds what this chain did not make"):
        kitchen.run("--first.output_dir", "elsewhere")


def test_two_cannot_work_at_once(kitchen):
    def call(stage, lock):
        with pytest.raises(ValueError, match="Another process works on"):
            kitchen.chain().run(kitchen.call)
        kitchen.call(stage, lock)

    kitchen.chain().run(call, say=kitchen.said.append)
    assert kitchen.states() == [DONE] * 5


def test_a_search_goes_on_with_more_evaluations(kitchen):
    kitchen.run()
    (kitchen.folder / "out" / "search" / "search.journal").write_text("what was tried")
    assert kitchen.run("--num_evaluations", "200") == ["budgets", "measured"]
    assert (kitchen.folder / "out" / "search" / "search.journal").exists()


def test_secrets_are_not_told(kitchen):
    kitchen.run("--hub_token", "hf_secret")
    assert "hf_secret" not in str(kitchen.said) + (kitchen.folder / "out" / "chain.json").read_text()


def test_other_contents_are_other_inputs_and_nothing_is_lost(kitchen):
    kitchen.run()
    (kitchen.folder / "out" / "first" / "checkpoint-1").mkdir()
    (kitchen.folder / "questions.json").write_text("others")
    assert kitchen.states() == [CHANGED, WAITS, CHANGED, WAITS, WAITS]  # the third reads the questions too
    assert kitchen.run(redo=["first"]) == list(STAGES)
    assert (kitchen.folder / "out" / "first.old-1" / "checkpoint-1").exists()
    assert not (kitchen.folder / "out" / "first" / "checkpoint-1").exists()  # so that nothing resumes from it


def test_a_result_that_is_gone_is_made_again_with_what_follows(kitchen):
    kitchen.run()
    (kitchen.folder / "out" / "second" / "config.json").unlink()
    assert kitchen.run() == ["second", "int8", "budgets", "measured"]


def test_what_a_person_made_is_asked_for(kitchen):
    made = kitchen.folder / "out" / "first"
    made.mkdir(parents=True)
    (made / "config.json").write_text("by hand")
    assert kitchen.states()[0] == FOUND
    with pytest.raises(
        ValueError, match="out/first, where first belongs, holds what this chain did not make.*--adopt first"
    ):
        kitchen.run()
    assert kitchen.log == []
    assert kitchen.run(adopt=["first"]) == ["second", "int8", "budgets", "measured"]
    assert (made / "config.json").read_text() == "by hand"
    assert kitchen.run(adopt=["first"]) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--learning_rat", "1"], "option --learning_rat is unknown; the nearest valid one is learning_rate"),
        (["--secund.data", "x"], "stage 'secund' is unknown; the nearest valid one is second"),
        (["--budgets.learning_rate", "1"], "option --budgets.learning_rate is unknown"),
        (["data"], "Cannot make sense of data"),
        (["--output_dir", "out"], "--output_dir would be the same for all stages; say whose, as in --first.output_dir"),
        (["--first.output_dir", "out/second"], "two stages have the folder .*out/second"),
    ],
)
def test_bad_options_are_refused_before_any_work(kitchen, more, message):
    with pytest.raises(ValueError, match=message):
        kitchen.run(*more)
    assert kitchen.log == []


def test_adopting_what_is_not_there(kitchen):
    with pytest.raises(ValueError, match="out/first/config.json is not there"):
        kitchen.run(adopt=["first"])
    with pytest.raises(ValueError, match="'frist' is unknown; the nearest valid one is first"):
        kitchen.run(adopt=["frist"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages:\n  one: tarin a.yaml\n", "verb 'tarin' is unknown; the nearest valid one is train"),
        ("stages:\n  one-two: train a.yaml\n", "stage 'one-two'; valid are letters, digits and underscores"),
        ("stages: [train a.yaml]\n", "is no chain: it must have stages"),
        ("stages:\n  one: evaluate --model x\n", "stage one says no --save"),
    ],
)
def test_bad_chains_are_refused(kitchen, text, message):
    (kitchen.folder / "recipes" / "chain.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        kitchen.chain()
    with pytest.raises(ValueError, match="out holds no chain.yaml; give a folder of recipes"):
        read_chain("out", [], KNOWN)


TINY_CHAIN = """
stages:
  plain: train plain.yaml
  dropping: train dropping.yaml
  evaluation: evaluate --model out/dropping --length_config named --save --latency_samples 0 --data {questions}
"""
TINY = """
output_dir: {output_dir}
model_name_or_path: {start}
train_file: [{questions}]
max_length: 128
stride: 16
max_steps: 2
per_device_train_batch_size: 4
use_cpu: true
report_to: none
length_drop: {length_drop}
importance: all
budgets: {budgets}
"""


def test_the_command(bert_folder, squad_file, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "chain.yaml").write_text(TINY_CHAIN.format(questions=squad_file))
    common = {"questions": squad_file, "budgets": json.dumps({"half": LENGTH_CONFIGS[0]})}
    plain = TINY.format(output_dir="out/plain", start=bert_folder, length_drop="false", **common)
    dropping = TINY.format(output_dir="out/dropping", start="out/plain", length_drop="true", **common)
    (tmp_path / "tiny" / "plain.yaml").write_text(plain)
    (tmp_path / "tiny" / "dropping.yaml").write_text(dropping)
    windows = ["--max_length", "128", "--stride", "16"]
    assert cli.main(["run", "tiny", *windows, "--plan"]) == 0
    assert "to do later" in capfd.readouterr().out
    assert not Path("out").exists()
    assert cli.main(["run", "tiny", *windows]) == 0
    out = capfd.readouterr().out
    assert "stage" in out and "minutes" in out
    card = Path("out/dropping/README.md").read_text()
    assert "| `half` |" in card and "| `full` |" in card
    before = Path("out/dropping/model.safetensors").stat().st_mtime_ns
    assert cli.main(["run", "tiny", *windows]) == 0
    assert capfd.readouterr().out.count("done before") == 3
    assert Path("out/dropping/model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(SystemExit):  # argparse's way; before any stage runs
        cli.main(["run", "tiny", *windows, "--dropping.learning_rate", "fast"])
    assert "invalid float value: 'fast'" in capfd.readouterr().err
    assert Path("out/dropping/model.safetensors").stat().st_mtime_ns == before
    assert cli.main(["run", "nowhere"]) == 2
    assert cli.main(["run"]) == 2 and cli.main(["run", "--help"]) == 0
    assert cli.main(["run", "tiny", *windows, "--train_file", "none.json"]) == 2
    assert "plain: train_file: there is no file none.json" in capfd.readouterr().err
    assert cli.main(["run", "tiny", *windows, "--length_drop", "true", "--length_adaptive", "false"]) == 2
    assert "plain: length_drop=True trains token dropping" in capfd.readouterr().err


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "recipes").glob("*/chain.yaml")), ids=str)
def test_our_chains_fit_together(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = read_chain(path.parent, [], {verb: known_options(classes) for verb, (_, classes) in cli.VERBS.items()})
    made = set()
    for stage in stages:
        parse_arguments(list(stage.argv), cli.VERBS[stage.verb][1])
        needed = {word for words in stage.options.values() for word in words if word.startswith("outputs/")}
        own = {*map(str, stage.writes), *stage.options.get("teacher_cache_dir", [])}
        assert needed - own <= made, stage.name  # whatever it reads, a stage before it makes
        made |= own
    assert f"outputs/{path.parent.name}" in made
