"""From a model and held-out questions to budgets in its configuration, as a person types it."""

import functools
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm
from transformers import AutoModelForQuestionAnswering

from hf_dynbert.budgets import search as searching
from hf_dynbert.budgets.search.arguments import SearchArguments
from hf_dynbert.budgets.search.run import Bench, _space, run_search
from hf_dynbert.commands.main import main


@pytest.fixture
def model_folder(make_model, tokenizer, tmp_path):
    make_model(importance="learned", budgets={"half": [0.7, 0.5, 0.4, 0.3]}).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def options(model_folder, articles_file, tmp_path):
    return {
        "model": str(model_folder),
        "output_dir": str(tmp_path / "found"),
        "train_file": [str(articles_file)],
        "held_out": 0.99,  # the tiny questions are one article
        "search_samples": 8,
        "confirm_samples": 4,
        "trained_samples": 4,
        "screen_samples": [4],
        "num_evaluations": 8,
        "latency_samples": 1,
        "max_length": 128,
        "stride": 16,
    }


@pytest.fixture
def clock(monkeypatch):
    """Latency as the cost of the tokens that are left: this tiny model is as fast with all of them."""

    def latencies(bench, length_configs, turns=5, others=()):
        return [10.0 if config is None else 1 + 9 * sum(config) / len(config) for config in length_configs]

    monkeypatch.setattr("hf_dynbert.budgets.search.run.Bench.latencies", latencies)


@pytest.fixture
def scores(monkeypatch):
    """F1 that falls with what is dropped: this tiny model knows nothing."""

    def f1s(bench, length_config, sample):
        f1 = 80.0 if length_config is None else 80 - 10 * (1 - sum(length_config) / len(length_config)) ** 2
        return [f1] * len(sample.data)

    monkeypatch.setattr("hf_dynbert.budgets.search.run.Bench._f1s", f1s)


def words(options):
    return [
        str(word)
        for name, value in options.items()
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]


def test_search_as_a_person_types_it(options, articles_file, tmp_path, capsys):
    folder = options["model"]
    listed = ["--length_configs", "30,20,10,5", "--eval_file", str(articles_file)]
    assert main(["search", *words(options), *listed]) == 0
    printed = capsys.readouterr().out
    assert "all tokens" in printed and "listed-1" in printed and "constant-1" in printed
    for name in ("search.journal", "front.json", "front.md", "front.png"):
        assert (tmp_path / "found" / name).stat().st_size > 0
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    budgets = model.config.budgets
    assert budgets["half"] == [0.7, 0.5, 0.4, 0.3]  # a person's own stays
    full = budgets["full"]
    assert full["length_config"] is None and full["latency_ms"] > 0 and "held-out questions" in full["sample"]
    assert model.choose_budget(speedup=1.0) is not None
    card = (Path(folder) / "README.md").read_text()
    assert "](front.png)" in card and (Path(folder) / "front.png").exists()
    assert f"| `full` | all tokens | {full['f1']:.2f} |" in card and full["machine"] in card and full["sample"] in card
    report = json.loads((tmp_path / "found" / "front.json").read_text())
    assert len(report["measured"]) <= 8 and report["budgets"] == {n: b for n, b in budgets.items() if n != "half"}


def test_what_is_found_has_the_names_it_is_told_by(options, clock, scores):
    folder = Path(options["model"])
    config = json.loads((folder / "config.json").read_text())
    config["budgets"] |= {"balanced": {"length_config": [0.9] * 4, "f1": 1.0, "macs": 1.0}}  # of an earlier search
    (folder / "config.json").write_text(json.dumps(config))
    found = run_search(SearchArguments(**options | {"num_evaluations": 20, "screen_samples": []}))
    budgets = AutoModelForQuestionAnswering.from_pretrained(folder).config.budgets
    assert {"accurate", "balanced", "fast", "full", "half"} <= set(budgets)
    for name, loss in (("accurate", 0.002), ("balanced", 0.01), ("fast", 0.03)):
        assert budgets[name]["f1"] >= (1 - loss) * 80 and budgets[name]["latency_ms"] < 10
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (found / "front.md").read_text().split("\n\n")[1].splitlines()
    ]
    told = {name: row[1] for row in rows for name in row[0].split(", ")}
    for name, budget in budgets.items():
        if name not in ("half", "full"):
            assert told[name] == ", ".join(map(str, budget["length_config"]))
    front = [row for row in rows if row[0].split(", ")[0] in budgets]
    latencies, f1 = ([float(row[column]) for row in front] for column in (5, 2))
    assert latencies == sorted(latencies, reverse=True) and f1 == sorted(f1, reverse=True)


def test_every_target_can_have_the_budgets(options, make_model, tokenizer, tmp_path, clock, scores):
    make_model(drop_layers=[1, 3]).save_pretrained(tmp_path / "narrow")
    run_search(SearchArguments(**options | {"save_to": [options["model"], str(tmp_path / "narrow")]}))
    for folder in (options["model"], tmp_path / "narrow"):
        config = AutoModelForQuestionAnswering.from_pretrained(folder).config
        assert all(budget[0] == 1.0 for name, budget in config.length_configs.items() if name != "half")


def test_budgets_are_named_on_questions_the_search_did_not_see(options):
    with pytest.raises(ValueError, match="leaves none that the search has not seen"):
        run_search(SearchArguments(**options | {"search_samples": 12}))


def test_names_must_hold_on_questions_of_training_too(options, clock, scores, monkeypatch, caplog):
    monkeypatch.setattr("hf_dynbert.budgets.search.run.Bench.kept", lambda bench, length_config: 0.98)
    shown = functools.partial(tqdm, mininterval=0)  # a bar that is drawn at each step has no say in it
    monkeypatch.setattr("hf_dynbert.budgets.search.run.tqdm", shown)
    run_search(SearchArguments(**options | {"num_evaluations": 20, "screen_samples": []}))
    budgets = AutoModelForQuestionAnswering.from_pretrained(options["model"]).config.budgets
    assert "fast" in budgets and not {"accurate", "balanced"} & set(budgets) and "none is 'balanced'" in caplog.text


def test_points_lost_in_training_count_among_held_out_ones(monkeypatch):
    known = {"trained": {None: [90.0, 90.0, 90.0, 90.0], (0.5,): [90.0, 90.0, 90.0, 88.0]}, "held out": {None: [50.0]}}
    monkeypatch.setattr(Bench, "_f1s", lambda bench, length_config, sample: known[sample][length_config])
    bench = Bench.__new__(Bench)
    bench.trained, bench.confirming = "trained", "held out"
    error = statistics.stdev([0.0, 0.0, 0.0, 2.0]) / 2  # of the mean of four losses
    assert bench.kept((0.5,)) == pytest.approx(1 - (0.5 + 1.645 * error) / 50)


def test_a_search_goes_on_where_it_was(options, monkeypatch):
    run_search(SearchArguments(**options))
    monkeypatch.setattr(searching, "_try", None)  # whoever tries one more fails
    run_search(SearchArguments(**options))
    config = json.loads((Path(options["model"]) / "config.json").read_text())
    assert config["budgets"]["half"] == [0.7, 0.5, 0.4, 0.3]


def test_two_processes_share_a_search(options):
    """Each evaluates a part, and the last of them names what was found."""
    evaluations = 200  # one that starts some seconds later, on a busy machine, still finds work
    more = {"cost": "macs", "num_evaluations": evaluations, "screen_samples": [2, 4]}
    command = [sys.executable, "-m", "hf_dynbert.commands.main", "search", *words(options | more)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    output = Path(options["output_dir"])
    found = json.loads((output / "front.json").read_text())
    trials = searching._load(output / "search.journal").get_trials()
    assert len({trial.user_attrs["process"] for trial in trials if trial.state in searching.DONE}) == 2
    assert 0 < len(found["measured"]) <= evaluations + 1  # the last one may be under way in both
    assert (
        found["budgets"]["full"]["f1"]
        == AutoModelForQuestionAnswering.from_pretrained(options["model"]).config.budgets["full"]["f1"]
    )


def test_other_models_beside(options, bert_folder, tokenizer, articles_file, tmp_path, clock, monkeypatch):
    """Plain ones, and length configurations that this model cannot have; the front beside constant ratios."""
    monkeypatch.undo()
    tokenizer.save_pretrained(tmp_path / "plain")
    AutoModelForQuestionAnswering.from_pretrained(bert_folder).save_pretrained(tmp_path / "plain")
    beside = [str(tmp_path / "plain"), f"{options['model']}@90,20,10,5"]
    found = run_search(SearchArguments(**options | {"beside": beside, "eval_file": [str(articles_file)]}))
    text = (found / "front.md").read_text()
    assert "| plain | all tokens |" in text and "| model@90,20,10,5 | 90, 20, 10, 5 |" in text
    assert "| F1 lost | found: ms, of full |" in text and "| 3 % |" in text
    report = json.loads((found / "front.json").read_text())
    full = next(entry for name, entry in report["budgets"].items() if name == "full")
    plain, dropping = report["listed"]
    assert plain["f1"] == pytest.approx(full["f1"], abs=1e-6) and plain["latency_ms"] > 0  # the same weights
    assert plain["macs"] == full["macs"] > dropping["macs"] and plain["runtime"] == "BertForQuestionAnswering"
    assert {"plain", "model@90,20,10,5", "constant-1", "full"} <= set(report["dev_f1"])
    with pytest.raises(ValueError, match="beside: .*plain is a BertForQuestionAnswering, which cannot drop tokens"):
        run_search(SearchArguments(**options | {"beside": [f"{tmp_path / 'plain'}@half"]}))


def test_a_constant_ratio_that_is_better_is_kept(options, clock, scores, monkeypatch):
    """What is measured slower than something as accurate is no budget, whoever thought of it."""
    found = run_search(SearchArguments(**options | {"num_evaluations": 4, "screen_samples": []}))
    report = json.loads((found / "front.json").read_text())
    kept = sorted((entry["latency_ms"], entry["f1"]) for entry in report["budgets"].values())
    for entry in report["constant"]:
        assert any(ms <= entry["latency_ms"] and f1 >= entry["f1"] for ms, f1 in kept)


def test_what_training_saw_is_said(options, caplog):
    run_search(SearchArguments(**options))
    assert "is not known to have held out any" in caplog.text
    caplog.clear()
    (Path(options["model"]) / "training.json").write_text(json.dumps({"held_out": options["held_out"]}))
    run_search(SearchArguments(**options))
    assert "is not known" not in caplog.text


def test_small_shares_that_training_practised_are_searched(make_model):
    config = make_model(budgets={"third": [0.5, 0.5, 0.2, 0.03]}).config
    space = _space(config, {0, 1, 2, 3}, SearchArguments("model", "output"))
    assert space.decode(space.encode([0.5, 0.5, 0.2, 0.03])) == [0.5, 0.5, 0.2, 0.03]


def test_macs_and_token_counts(options):
    folder = run_search(SearchArguments(**options | {"cost": "macs", "absolute": True, "screen_samples": []}))
    measured = json.loads((folder / "front.json").read_text())["measured"]
    assert all(isinstance(entry, int) for config, _, _ in measured for entry in config)
    assert all(0 < cost <= 1 for _, _, cost in measured)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "genetic"}, "method is 'genetic'; valid are 'evolutionary'"),
        ({"cost": "money"}, "cost is 'money'; valid are 'latency', 'macs'"),
        ({"screen_samples": [20]}, "valid are rising numbers of questions"),
        ({"held_out": 0.0}, "held_out is 0.0; valid are numbers between 0 and 1"),
        ({"num_evaluations": 0}, "num_evaluations is 0"),
        ({"length_configs": ["0.1,0.2,0.3,0.4"]}, "increases"),
        ({"save_to": ["nowhere"]}, "nowhere is no folder with a model"),
    ],
)
def test_bad_searches_are_refused_before_any_work(options, wrong, message):
    with pytest.raises(ValueError, match=message):
        run_search(SearchArguments(**options | wrong))


def test_a_model_that_cannot_drop_is_refused(options, bert_folder):
    with pytest.raises(ValueError, match="BertForQuestionAnswering, which cannot drop tokens"):
        run_search(SearchArguments(**options | {"model": str(bert_folder)}))


def test_asking_in_ones_own_terms(options, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("ada wrote the song.")
    question = [
        "ask",
        "--model",
        options["model"],
        "--question",
        "who wrote?",
        "--context-file",
        str(tmp_path / "notes.txt"),
    ]
    assert main([*question, "--speedup", "2"]) == 2
    assert "no measured budgets. hf-dynbert search finds them" in capsys.readouterr().err
    run_search(SearchArguments(**options))
    assert main([*question, "--max-latency-ms", "1e6"]) == 0
    assert main([*question, "--max-latency-ms", "1e6", "--length-config", "half"]) == 2
    assert "Give --length_config or --max_latency_ms, not both" in capsys.readouterr().err
