"""Measured budgets: which are kept and named, which one a person means, and what this machine's clock has to say."""

import json
import logging

import pytest
import torch

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering
from hf_dynbert.budgets import latency
from hf_dynbert.budgets.budget import Budget, choose_budget, keep_budgets, name_budgets, standard_error
from hf_dynbert.budgets.choosing import runtime_name, threads_of
from hf_dynbert.budgets.latency import machine_name, measure_latencies, remembered


FULL = Budget("full", None, 80.0, 4e9, 20.0, 160)


def point(name, f1, latency_ms, macs=1e9, share=0.5):
    return Budget(name, [share] * 4, f1, macs, latency_ms, 160)


FOUND = [point("a", 79.9, 16.0, 3e9), point("b", 79.3, 12.0, 2e9), point("c", 78.0, 9.0, 1e9), point("d", 70.0, 6.0, 5e8)]


def test_what_is_kept(caplog):
    slow, beaten, better = point("slow", 79.0, 21.0), point("beaten", 78.5, 12.5), point("better", 80.5, 19.0)
    with caplog.at_level(logging.WARNING):
        kept = keep_budgets([*FOUND, slow, beaten], FULL)
    assert [budget.name for budget in kept] == ["d", "c", "b", "a", "full"]
    assert caplog.text.count("left out") == 1 and "takes 21.00 ms, full length 20.00 ms" in caplog.text
    assert [budget.name for budget in keep_budgets([*FOUND, better], FULL)] == ["d", "c", "b", "a", "better"]


def test_three_names():
    assert {name: b.name for name, b in name_budgets(FOUND, FULL).items()} == {"accurate": "a", "balanced": "b", "fast": "c"}
    assert set(name_budgets(FOUND[1:], FULL)) == {"balanced", "fast"}
    assert name_budgets([FULL], FULL) == {}
    both = name_budgets([FOUND[0]], FULL)
    assert both["accurate"] is both["fast"]


def test_luck_with_the_sample_names_nothing():
    lucky, sure = point("lucky", 79.9, 7.0), point("sure", 80.0, 12.0)
    assert {b.name for b in name_budgets([sure, lucky], FULL).values()} == {"lucky"}
    parts, asked = {"lucky": 0.985, "sure": 0.995}, []
    named = name_budgets(
        [sure, lucky, point("slow", 70.0, 6.0)], FULL, lambda one: asked.append(one.name) or parts[one.name]
    )
    assert {name: budget.name for name, budget in named.items()} == {"balanced": "sure", "fast": "lucky"}
    assert "slow" not in asked  # its own F1 says enough


def test_the_error_of_what_is_lost():
    full = [100.0, 0.0, 100.0, 50.0] * 25
    assert standard_error(full, full) == 0.0  # however hard the questions are
    own = [*full[:-4], 0.0, 0.0, 0.0, 50.0]  # two of a hundred answers are lost
    assert standard_error(own, full) == pytest.approx((2 * 98 / 99) ** 0.5)  # two differences of 100: their variance ÷ 100
    assert standard_error([1.0], [2.0]) == float("inf")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"max_latency_ms": 12.0}, "b"),
        ({"max_latency_ms": 100}, "full"),
        ({"max_macs": 1.5e9}, "c"),
        ({"min_f1": 79.0}, "b"),
        ({"min_f1": 60.0}, "d"),
        ({"speedup": 2}, "c"),
        ({"speedup": 1}, "full"),
        ({"speedup": 2, "max_macs": 6e8}, "d"),
        ({"min_f1": 78.0, "max_latency_ms": 13}, "b"),
    ],
)
def test_what_a_person_means(asked, name):
    assert choose_budget([*FOUND, FULL], **asked).name == name


def test_what_cannot_be_had_is_said():
    with pytest.raises(ValueError, match="Ask for something: max_latency_ms=20"):
        choose_budget(FOUND)
    with pytest.raises(ValueError, match="no measured budgets. hf-dynbert search finds them"):
        choose_budget([], speedup=2)
    with pytest.raises(ValueError, match=r"No budget of this model gives max_latency_ms=1. It has: a F1 79.9 in 16.0 ms"):
        choose_budget(FOUND, max_latency_ms=1)


def test_latencies_are_medians_in_turns(monkeypatch):
    clock, order = [0.0], []

    def call(variant):
        order.append(variant)
        clock[0] += variant / 1000

    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock[0])
    assert measure_latencies(call, [5, 2, 9], turns=3) == pytest.approx([5, 2, 9])
    rounds = order[2 * 3 :]
    assert [rounds[index : index + 9 : 3] for index in range(0, 27, 9)] == [[5, 2, 9], [2, 9, 5], [9, 5, 2]]


def test_what_was_measured_is_remembered(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return [1.0, 2.0]

    assert remembered(["a"], measure, tmp_path)[::2] == ([1.0, 2.0], True)
    found, path, new = remembered(["a"], measure, tmp_path)
    assert (found, new, len(calls)) == ([1.0, 2.0], False, 1)
    path.write_text("{half")
    assert remembered(["a"], measure, tmp_path)[2] and len(calls) == 2
    remembered(["b"], measure, tmp_path)
    assert len(calls) == 3 and len(list(tmp_path.iterdir())) == 2


def entries(machine, runtime):
    config = {"a": [0.9, 0.8, 0.7, 0.6], "b": [0.6, 0.5, 0.4, 0.3]}
    found = {
        name: Budget(name, length_config, f1, macs, ms, 24, machine, runtime, "test").entry()
        for (name, length_config), f1, macs, ms in zip(config.items(), (79, 75), (3e6, 1e6), (8.0, 3.0), strict=True)
    }
    return found | {"full": Budget("full", None, 80.0, 5e6, 10.0, 24, machine, runtime, "test").entry()}


def test_machines_of_one_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    seen = {machine_name(2)}
    for flags in ("fpu avx2", "fpu avx2 avx512f avx512_vnni", "fpu avx2 avx512f avx512_vnni amx_int8"):
        (tmp_path / "cpuinfo").write_text(f"model name : Xeon\nflags : {flags}\n\nmodel name : Xeon\nflags : {flags}\n")
        seen.add(machine_name(2))
    assert machine_name(2) == "Xeon (AMX), 2 threads"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    seen.add(machine_name(2))
    assert machine_name(2) == "Xeon (AMX, ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI), 2 threads"
    assert len(seen) == 5


def test_a_model_is_asked(make_model, batch, tmp_path, monkeypatch):
    model = make_model()
    model.config.budgets = entries(machine_name(threads_of(model)), runtime_name(model))
    monkeypatch.setattr(latency, "HF_HOME", tmp_path)
    model.save_pretrained(tmp_path / "saved")
    again = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    assert again.config.budgets == model.config.budgets
    assert again.choose_budget(max_latency_ms=9) == again.choose_budget(max_macs=4e6) == [0.9, 0.8, 0.7, 0.6]
    assert again.choose_budget(speedup=3) == [0.6, 0.5, 0.4, 0.3] and again.choose_budget(min_f1=80) == "full"
    with torch.no_grad():
        by_name = again(**batch, length_config="a").start_logits
        assert torch.equal(by_name, again(**batch, length_config=again.choose_budget(max_latency_ms=9)).start_logits)
        assert torch.equal(
            again(**batch).start_logits, again(**batch, length_config=again.choose_budget(speedup=1)).start_logits
        )
    assert not (tmp_path / "hf_dynbert").exists()  # measured here: nothing to time


def test_another_machines_latencies_are_timed_here_once(make_model, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(latency, "HF_HOME", tmp_path)
    model, timed = make_model(), []
    model.config.budgets = entries("another machine", runtime_name(model))
    monkeypatch.setattr(
        "hf_dynbert.budgets.choosing.measure_latencies", lambda call, names: timed.append(1) or [1.0, 2.0, 7.0]
    )
    with caplog.at_level(logging.WARNING):
        assert model.choose_budget(max_latency_ms=1.5) == [0.9, 0.8, 0.7, 0.6]
        assert model.choose_budget(speedup=7) == [0.9, 0.8, 0.7, 0.6]
    assert len(timed) == 1 and caplog.text.count("Timed 3 budgets at 24 tokens on this machine") == 1
    monkeypatch.undo()
    monkeypatch.setattr(latency, "HF_HOME", tmp_path / "other")
    assert model.choose_budget(max_latency_ms=1e9) == "full"  # really timed
    [file] = (tmp_path / "other" / "hf_dynbert").iterdir()
    assert all(ms > 0 for ms in json.loads(file.read_text())["latency_ms"])


def test_budgets_of_both_kinds_live_together():
    config = DynamicTinyBertConfig(num_hidden_layers=4, budgets={"half": [0.5] * 4} | entries("m", "r"))
    assert list(config.length_configs) == ["half", "a", "b"]
    assert config.resolve_length_config("a") == [0.9, 0.8, 0.7, 0.6] and config.resolve_length_config("full") is None
    for wrong in ({"full": [0.5] * 4}, {"full": {"length_config": [0.5] * 4}}):
        with pytest.raises(ValueError, match="cannot be redefined"):
            DynamicTinyBertConfig(num_hidden_layers=4, budgets=wrong)
    with pytest.raises(ValueError, match=r'budgets\["a"\]: length_config increases'):
        DynamicTinyBertConfig(num_hidden_layers=4, budgets={"a": {"length_config": [0.5, 0.6, 0.5, 0.4], "f1": 1.0}})
    with pytest.raises(ValueError, match=r'budgets\["a"\]: length_config is None'):
        DynamicTinyBertConfig(num_hidden_layers=4, budgets={"a": {"f1": 1.0}})
