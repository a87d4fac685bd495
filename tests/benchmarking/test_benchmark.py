"""The benchmark: everyone is timed on the same batches, in turns, and the numbers are what was measured."""

import json

import pytest
from conftest import LENGTH_CONFIGS
from transformers import BertConfig, BertForQuestionAnswering

from hf_dynbert.benchmarking.benchmark import (
    BURST,
    BenchmarkEntry,
    benchmark_rows,
    measure_entries,
    plot_benchmark,
    table_of,
)
from hf_dynbert.budgets.latency import Latency
from hf_dynbert.commands import main as cli


def make_entry(name, calls):
    return BenchmarkEntry(name, lambda batch: calls.append((name, batch)), size=2_000_000, macs=3_000_000_000)


def test_speed_ups_and_table():
    entries = [make_entry(name, []) for name in ("slow", "fast")]
    one, many = (Latency(10.0, 10.0, 0.0), Latency(2.0, 2.0, 0.0)), (Latency(55.0, 91.0, 0.5), Latency(11.0, 18.2, 0.5))
    measured = {"one": dict(zip(("slow", "fast"), one, strict=True)), "many": dict(zip(("slow", "fast"), many, strict=True))}
    rows = benchmark_rows(entries, measured, ["slow"])
    assert rows[1]["cases"]["many"]["speed_up"]["slow"] == pytest.approx(5)
    columns, lines = table_of(rows)
    assert columns == ["", "MB", "MACs (G)", "one, ms (p90)", "× slow", "many, ms (p90)", "× slow"]
    assert lines[1] == ["fast", "2.0", "3.00", "2.0 (2.0)", "5.00", "11.0 (18.2)", "5.00"]


def test_all_entries_take_the_same_batches_in_changing_order():
    calls = []
    entries = [make_entry(name, calls) for name in "abc"]
    measured = measure_entries(entries, {"case": list(range(4))}, repeats=9, progress=False)
    assert list(measured["case"]) == list("abc") and all(latency.median_ms >= 0 for latency in measured["case"].values())
    assert [batch for name, batch in calls[:12]] == [0, 1, 2, 3] * 3  # each batch is seen once before any is timed
    turns = [calls[-3 * BURST * (turn + 1) :][: 3 * BURST] for turn in range(9)]
    for turn in turns:
        bursts = [turn[i : i + BURST] for i in range(0, len(turn), BURST)]
        assert all(len({name for name, _ in burst}) == 1 for burst in bursts)  # one entry after another, not mixed
        assert len({tuple(batch for _, batch in burst) for burst in bursts}) == 1  # and the same batches for all
    assert {turn[0][0] for turn in turns} == set("abc")
    assert {batch for turn in turns for _, batch in turn[1:BURST]} == {0, 1, 2, 3}  # every batch is timed


@pytest.mark.intel
def test_rows_can_be_chosen():
    entries = pytest.importorskip("hf_dynbert.benchmarking.entries", reason="needs the intel extra")
    rows = ["ours int8, full", "ours int8, half", "plain fp32"]
    assert entries.chosen(rows, []) == rows
    assert entries.chosen(rows, ["half", "plain"]) == rows[1:]
    with pytest.raises(ValueError, match="'slow'.*Rows are: 'ours int8, full'"):
        entries.chosen(rows, ["half", "slow"])


@pytest.mark.intel
def test_no_parameter_of_a_random_model_is_special():
    entries = pytest.importorskip("hf_dynbert.benchmarking.entries", reason="needs the intel extra")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 99}
    models = [entries.random_model(BertForQuestionAnswering, BertConfig(**sizes)) for _ in range(2)]
    for one, other in zip(*(model.named_parameters() for model in models), strict=True):
        assert one[1].std() > 0 and (one[1] != 0).float().mean() > 0.9, one[0]  # the padding's embedding is zero
        assert (one[1] == other[1]).all()


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    entries = [make_entry(name, []) for name in "ab"]
    measured = {case: {name: Latency(1.0, 2.0, 0.1) for name in "ab"} for case in "xy"}
    path = plot_benchmark(benchmark_rows(entries, measured, ["a"]), tmp_path / "deep" / "plot.png", "title")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.intel
def test_command_measures_our_forms(make_model, tokenizer, squad_file, tmp_path, capsys):
    pytest.importorskip("optimum.intel", reason="needs the intel extra")
    folder = tmp_path / "model"
    make_model(importance="learned", budgets={"fast": LENGTH_CONFIGS[0]}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    options = ["--accuracy_samples", "0", "--calibration_samples", "4", "--max_length", "120", "--stride", "8"]
    made = ["--model", str(folder), "--backend", "pytorch", "--output_dir", str(tmp_path / "int8")]
    assert cli.main(["quantize", *made, "--train_file", str(squad_file), *options]) == 0
    argv = ["benchmark", "--model", str(folder), "--data", str(squad_file), "--output_dir", str(tmp_path / "out")]
    argv += [
        "--int8",
        str(tmp_path / "int8"),
        "--length_configs",
        "full",
        "fast",
        "--repeats",
        "2",
        "--plain",
        "false",
        "--padded_length",
        "120",
        "--stride",
        "8",
    ]
    assert cli.main(argv) == 0
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    names = [row["name"] for row in result["rows"]]
    assert names == [
        f"ours {form}, {budget}" for form in ("PyTorch fp32", "OpenVINO fp32", "PyTorch int8") for budget in ("full", "fast")
    ]
    assert result["rows"][1]["macs_g"] < result["rows"][0]["macs_g"]
    assert result["rows"][4]["size_mb"] < result["rows"][0]["size_mb"]
    assert list(result["rows"][0]["cases"]) == [
        "batch 1, 120 tokens", "batch 1 padded to 120", "batch 1, real lengths", "batch 8, padded to longest",
    ]  # fmt: skip
    assert all(case["p50_ms"] > 0 for row in result["rows"] for case in row["cases"].values())
    assert names[-1] in capsys.readouterr().out
    assert (tmp_path / "out" / "benchmark.png").exists()
    capsys.readouterr()
    twice = ["--int8", str(tmp_path / "int8"), str(tmp_path / "int8"), "--output_dir", str(tmp_path / "two")]
    assert cli.main([*argv, *twice]) == 2
    assert "are both PyTorch int8; measure one of them" in capsys.readouterr().err
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    (tmp_path / "int8" / "config.json").write_text(json.dumps(config | {"drop_layers": [3], "budgets": {}}))
    assert cli.main([*argv, "--output_dir", str(tmp_path / "two")]) == 2
    assert "drops in layer" in capsys.readouterr().err and not (tmp_path / "two").exists()  # before any work


@pytest.mark.intel
@pytest.mark.parametrize("task", ["text-classification", "reranking"])
def test_other_tasks_are_measured(task, make_model, tokenizer, tmp_path, capsys):
    pytest.importorskip("optimum.intel", reason="needs the intel extra")
    labels = {"num_labels": 1, "ignore_mismatched_sizes": True} if task == "reranking" else {}
    model = make_model("text-classification", budgets={"fast": LENGTH_CONFIGS[0]}, **labels)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = {
        "text-classification": {"text": "ada lit the tower", "label": 1},
        "reranking": {"query": "who lit the tower", "positives": ["ada lit it"], "negatives": ["the ship", "ben wrote"]},
    }
    (tmp_path / "data.jsonl").write_text(json.dumps(rows[task]) + "\n")
    argv = ["benchmark", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "data.jsonl"), "--task", task]
    argv += ["--output_dir", str(tmp_path / "out"), "--length_configs", "named", "--repeats", "1", "--max_length", "40"]
    assert cli.main([*argv, "--only", "ours PyTorch", "MiniLM-L6 OpenVINO fp32"]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]}
    assert list(rows) == ["MiniLM-L6 OpenVINO fp32", "ours PyTorch fp32, full", "ours PyTorch fp32, fast"]
    assert all(case["p50_ms"] > 0 for row in rows.values() for case in row["cases"].values())


@pytest.mark.intel
def test_lengthened_inputs_keep_their_form(tokenizer):
    entries = pytest.importorskip("hf_dynbert.benchmarking.entries", reason="needs the intel extra")
    for texts in (("who?", "ada lit the tower"), ("ada lit the tower", "b"), ("ada",)):
        item = dict(tokenizer(*texts))
        for length in (len(item["input_ids"]), 50, 51):
            longer = entries.lengthened(item, length)
            assert {len(values) for values in longer.values()} == {length}
            first, last = texts[0], texts[-1] if len(texts) == 2 else ""
            types = longer.get("token_type_ids", [0] * length)
            second = [token for token, kind in zip(longer["input_ids"], types, strict=True) if kind == 1]
            if last:
                assert set(second) == set(tokenizer(last, add_special_tokens=False)["input_ids"]) | {tokenizer.sep_token_id}
            assert longer["input_ids"].count(tokenizer.sep_token_id) == len(texts)
            assert longer["input_ids"][: len(tokenizer(first)["input_ids"]) - 1] == tokenizer(first)["input_ids"][:-1]


@pytest.mark.intel
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "repeats is 0; valid are numbers from 1 on"),
        (["--threads", "0"], "threads is 0; valid are numbers from 1 on"),
        (["--length_configs", "slow"], "slow"),
        (["--length_configs", "full", "--int8", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_refused(make_model, tokenizer, squad_file, tmp_path, capsys, options, message):
    pytest.importorskip("optimum.intel", reason="needs the intel extra")
    make_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    argv = [
        "benchmark",
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(squad_file),
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert cli.main([*argv, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
