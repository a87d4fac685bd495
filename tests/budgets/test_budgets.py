"""Measured budgets: which are kept and named, which one a person means, and what this machine's clock has to say."""

import itertools
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering, load
from hf_dynbert.budgets.budget import Budget, choose_budget
from hf_dynbert.budgets.choosing import runtime_name, threads_of
from hf_dynbert.budgets.latency import (
    BURST,
    WARMUP,
    machine_name,
    measure_repeatably,
    time_in_turns,
)
from hf_dynbert.budgets.model_budgets import length_configs
from hf_dynbert.budgets.search.evaluator import standard_error
from hf_dynbert.budgets.search.report import name_budgets, select_budgets
from hf_dynbert.subnetwork import SubNetwork


FULL = Budget("full", None, 80.0, 4e9, 20.0, 160)


class Clock:
    """Stands for the machine's clock, so that a busy machine does not disturb a test; `pass_time` takes milliseconds."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self):
        return self.seconds

    def pass_time(self, milliseconds):
        self.seconds += milliseconds / 1000


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.perf_counter)
    return clock


def point(name, f1, latency_ms, macs=1e9, share=0.5):
    return Budget(name, [share] * 4, f1, macs, latency_ms, 160)


FOUND = [point("a", 79.9, 16.0, 3e9), point("b", 79.3, 12.0, 2e9), point("c", 78.0, 9.0, 1e9), point("d", 70.0, 6.0, 5e8)]


def test_what_is_kept(caplog):
    """No budget has a name, so the points of the front are numbered from the fastest."""
    found = [replace(budget, length_config=[budget.latency_ms / 100] * 4) for budget in FOUND]
    slow, beaten, better = point("slow", 79.0, 21.0), point("beaten", 78.5, 12.5), point("better", 80.5, 19.0)
    with caplog.at_level(logging.WARNING):
        kept = select_budgets(FULL, [*found, slow, beaten], 1.0, lambda length_config: 0.0)
    assert [budget.latency_ms for budget in kept.values()] == [20.0, 6.0, 9.0, 12.0, 16.0]
    assert list(kept) == ["full", "front-1", "front-2", "front-3", "front-4"]
    assert caplog.text.count("left out") == 1 and "takes 21.00 ms, full length 20.00 ms" in caplog.text
    kept = select_budgets(FULL, [*found, better], 1.0, lambda length_config: 0.0)
    assert [budget.latency_ms for budget in kept.values()] == [20.0, 6.0, 9.0, 12.0, 16.0, 19.0]


def test_three_names():
    named = name_budgets(FOUND, FULL, lambda length_config: 1.0)
    assert {name: budget.name for name, budget in named.items()} == {"accurate": "a", "balanced": "b", "fast": "c"}
    assert set(name_budgets(FOUND[1:], FULL, lambda length_config: 1.0)) == {"balanced", "fast"}
    assert name_budgets([], FULL, lambda length_config: 1.0) == {}
    both = name_budgets([FOUND[0]], FULL, lambda length_config: 1.0)
    assert both["accurate"] is both["fast"]


def test_luck_with_the_sample_names_nothing():
    lucky, sure, bad = point("lucky", 79.9, 7.0, share=0.3), point("sure", 80.0, 12.0), point("bad", 70.0, 6.0, share=0.1)
    named = name_budgets([sure, lucky], FULL, lambda length_config: 1.0)
    assert {budget.name for budget in named.values()} == {"lucky"}
    parts, measured = {0.3: 0.985, 0.5: 0.995}, []
    named = name_budgets([sure, lucky, bad], FULL, lambda entries: measured.append(entries[0]) or parts[entries[0]])
    assert {name: budget.name for name, budget in named.items()} == {"balanced": "sure", "fast": "lucky"}
    assert 0.1 not in measured  # its own F1 is too low


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
        ({"min_score": 79.0}, "b"),
        ({"min_score": 60.0}, "d"),
        ({"speedup": 2}, "c"),
        ({"speedup": 1}, "full"),
        ({"speedup": 2, "max_macs": 1e9}, "c"),
        ({"min_score": 78.0, "max_latency_ms": 13}, "b"),
    ],
)
def test_what_a_person_means(asked, name):
    assert choose_budget([*FOUND, FULL], **asked).name == name


def test_a_requirement_that_nothing_meets_is_refused():
    with pytest.raises(ValueError, match="Give a requirement: max_latency_ms=20"):
        choose_budget(FOUND)
    with pytest.raises(ValueError, match="no measured budgets. hf-dynbert search finds them"):
        choose_budget([], speedup=2)
    with pytest.raises(ValueError, match=r"No budget of this model gives max_latency_ms=1. It has: a F1 79.9 in 16.0 ms"):
        choose_budget(FOUND, max_latency_ms=1)


@pytest.mark.parametrize("name", ["max_latency_ms", "max_macs", "speedup", "min_score", "max_loss"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "2", True])
def test_impossible_requirements_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        choose_budget([*FOUND, FULL], **{name: value})


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ({"speedup": 3, "max_loss": 0.2}, "d"),  # d lost 12.5 % of full length's F1
        ({"speedup": 3, "min_score": 60}, "d"),
        ({"speedup": 3, "nearest": True}, "c"),  # the fastest that lost at most 6 %
        ({"speedup": 3, "nearest": True, "max_loss": 0.01}, "b"),
        ({"max_latency_ms": 1, "nearest": True}, "c"),
        ({"max_latency_ms": 1, "min_score": 79.0, "nearest": True}, "b"),
        ({"max_latency_ms": 1, "min_score": 99.0, "nearest": True}, "full"),
        ({"max_macs": 1, "nearest": True}, "c"),
        ({"max_loss": 0.01}, "b"),
        ({"max_loss": 1.0}, "d"),
        ({"min_score": 79.0}, "b"),
    ],
)
def test_losses_above_the_limit_need_a_request(requirement, name):
    assert choose_budget([*FOUND, FULL], **requirement).name == name


@pytest.mark.parametrize("requirement", [{"speedup": 3}, {"max_latency_ms": 7}, {"max_macs": 6e8}])
def test_no_speed_buys_a_ruined_score(requirement):
    with pytest.raises(ValueError, match=r"d F1 70.0 in 6.0 ms .* would, but lost more than 6 % of the score"):
        choose_budget([*FOUND, FULL], **requirement)


def test_budgets_of_other_metrics_and_layers():
    accuracy = Budget("fast", [0.5] * 4, 90.0, 1e9, 4.0, 32, score_error=0.5, metric="accuracy")
    entry = accuracy.entry()
    assert (entry["metric"], entry["score"], entry["score_error"]) == ("accuracy", 90.0, 0.5) and "f1" not in entry
    assert Budget.read("fast", entry) == accuracy
    f1 = Budget("fast", [0.5] * 4, 80.0, 1e9, 4.0, 32, score_error=0.5)
    assert (f1.entry()["f1"], f1.entry()["f1_error"]) == (80.0, 0.5) and not f1.entry().keys() & {
        "metric",
        "score",
        "layers",
    }
    assert Budget.read("fast", f1.entry()) == f1
    shallow = Budget("shallow", None, 79.0, 1e9, 4.0, layers=[0, 1])
    assert Budget.read("shallow", shallow.entry()) == shallow and not shallow.is_full
    assert choose_budget([shallow, FULL], speedup=2).name == "shallow"
    for unmeasured in ([0.5] * 4, {"length_config": [0.5] * 4}, {"length_config": [0.5] * 4, "score": 1.0}):
        assert Budget.read("x", unmeasured) is None


@pytest.mark.parametrize("value", ["x", "1.5", True, float("nan"), float("inf"), [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize("field", ["f1", "f1_error", "score", "score_error", "macs", "latency_ms", "tokens"])
def test_measured_values_that_are_no_numbers_are_refused(field, value, make_model, tokenizer, tmp_path):
    entry = {"length_config": [0.8, 0.6, 0.5, 0.3], "f1": 70.0, "macs": 1e9, field: value}
    message = re.escape(f'budgets["half"]["{field}"] is {value!r}; valid are numbers')
    config = DynamicTinyBertConfig(num_hidden_layers=4, budgets={"half": entry})
    config.architectures = ["DynamicTinyBertForQuestionAnswering"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)  # before the weights
    with pytest.raises(ValueError, match=message):
        model = make_model()
        model.config.budgets = {"half": entry}
        model.choose_budget(max_macs=1e9)


def test_latencies_are_medians_in_turns(clock):
    order = []

    def call(variant):
        order.append(variant)
        clock.pass_time(variant)

    assert [found.median_ms for found in time_in_turns(call, [5, 2, 9], turns=3)] == pytest.approx([5, 2, 9])
    rounds = order[WARMUP * 3 :]
    starts = [rounds[first : first + 3 * BURST : BURST] for first in range(0, 9 * BURST, 3 * BURST)]
    assert starts == [[5, 2, 9], [2, 9, 5], [9, 5, 2]]
    with pytest.raises(ValueError, match="turns is 0"):
        time_in_turns(call, [1], turns=0)


def test_noise_is_detected_and_measured_again(clock):
    waits = itertools.cycle([10, 20])

    def disturbed(variant):
        clock.pass_time(next(waits))

    [found] = time_in_turns(disturbed, ["a"])
    assert found.is_noisy and found.p90_ms == pytest.approx(20)
    assert not measure_repeatably(disturbed, ["a"])[1]
    for disturbance in (lambda calls: next(waits), lambda calls: 20 if calls < 11 else 10):  # a spread, and a slower round
        calls = []

        def disturbed_at_first(variant, calls=calls, disturbance=disturbance):
            calls.append(variant)
            clock.pass_time(disturbance(len(calls)) if len(calls) < 16 else 10)

        latencies, quiet = measure_repeatably(disturbed_at_first, ["a"])
        assert quiet and latencies == pytest.approx([10]) and len(calls) > 2 * (WARMUP + 2 * BURST)


def test_the_real_clock():
    short, long = time_in_turns(lambda seconds: time.sleep(seconds), [0.001, 0.03], turns=1)
    assert short.median_ms >= 1 and long.median_ms >= 30


def entries(machine, runtime):
    config = {"a": [0.9, 0.8, 0.7, 0.6], "b": [0.6, 0.5, 0.4, 0.3]}
    found = {
        name: Budget(name, length_config, f1, macs, ms, 24, machine, runtime, "test").entry()
        for (name, length_config), f1, macs, ms in zip(config.items(), (79, 75), (3e6, 1e6), (8.0, 3.0), strict=True)
    }
    return found | {"full": Budget("full", None, 80.0, 5e6, 10.0, 24, machine, runtime, "test").entry()}


def test_machines_of_one_name_differ_by_their_instructions(tmp_path, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    seen = {machine_name(2)}
    for number, flags in enumerate(("fpu avx2", "fpu avx2 avx512f avx512_vnni", "fpu avx2 avx512f avx512_vnni amx_int8")):
        path = tmp_path / f"cpuinfo{number}"
        path.write_text(f"model name : Xeon\nflags : {flags}\n\nmodel name : Xeon\nflags : {flags}\n")
        seen.add(machine_name(2, path))
    assert machine_name(2, path) == "Xeon (AMX), 2 threads"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    seen.add(machine_name(2, path))
    assert machine_name(2, path) == "Xeon (AMX, ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI), 2 threads"
    assert len(seen) == 5


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hf_dynbert"


@pytest.fixture
def model(make_model, clock):
    """A model whose calls take a time that the budget and the size of the input alone decide."""
    model = make_model(min_tokens_to_drop=0)
    model.config.budgets = entries("another machine", runtime_name(model))
    milliseconds, calls = {"full": 12, "a": 8, "b": 3}, []

    def pass_time(module, args, kwargs):
        batch, tokens = kwargs["input_ids"].shape
        calls.append((batch, tokens, kwargs["budget"]))
        clock.pass_time(milliseconds.get(kwargs["budget"], 1) * (1 + batch * tokens / 64))

    model.register_forward_pre_hook(pass_time, with_kwargs=True)
    return model, calls, milliseconds


def test_a_budget_chosen_by_a_model(make_model, batch, tmp_path, cache):
    model = make_model(min_tokens_to_drop=0)
    model.config.budgets = entries(machine_name(threads_of(model)), runtime_name(model))
    model.save_pretrained(tmp_path / "saved")
    again = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    assert again.config.budgets == model.config.budgets
    assert again.choose_budget(max_latency_ms=9) == again.choose_budget(max_macs=4e6) == [0.9, 0.8, 0.7, 0.6]
    assert again.choose_budget(speedup=3, max_loss=0.1) == [0.6, 0.5, 0.4, 0.3]
    assert again.choose_budget(min_score=80) == "full"
    assert again.choose_budget(speedup=3, nearest=True) == [0.9, 0.8, 0.7, 0.6]
    with torch.no_grad():
        by_name = again(**batch, length_config="a").start_logits
        assert torch.equal(by_name, again(**batch, length_config=again.choose_budget(max_latency_ms=9)).start_logits)
        assert torch.equal(
            again(**batch).start_logits, again(**batch, length_config=again.choose_budget(speedup=1)).start_logits
        )
    assert not cache.exists()  # measured on this machine: nothing to time


def test_latencies_of_another_machine_are_timed_here_once(model, cache, caplog, make_model):
    model, calls, _ = model
    with caplog.at_level(logging.WARNING):
        assert model.choose_budget(speedup=2, max_loss=0.1) == [0.6, 0.5, 0.4, 0.3]
        timed = len(calls)
        assert model.choose_budget(max_latency_ms=1e9) == "full"
    assert {call[:2] for call in calls} == {(1, 24)} and len(calls) == timed
    assert caplog.text.count("Timed 3 budgets at 1 x 24 tokens on this machine") == 1
    [file] = cache.iterdir()
    content = json.loads(file.read_text())
    assert content["machine"] == machine_name(threads_of(model)) and content["budgets"]["full"] == [None, None]
    [point] = content["points"]
    assert (point["batch_size"], point["tokens"]) == (1, 24) and all(ms > 3 for ms in point["latency_ms"].values())
    another = make_model(min_tokens_to_drop=0)  # a process that starts later
    another.config.budgets = model.config.budgets
    point["latency_ms"] = {"a": 2.0, "b": 1.0, "full": 7.0}
    file.write_text(json.dumps(content))
    assert another.choose_budget(speedup=7, max_loss=0.1) == [0.6, 0.5, 0.4, 0.3]
    assert another.choose_budget(max_latency_ms=2) == [0.9, 0.8, 0.7, 0.6]
    for damaged in ("{half", "[]", json.dumps(content | {"points": [point | {"latency_ms": {"a": -1.0}}]})):
        file.write_text(damaged)
        third = make_model(min_tokens_to_drop=0)
        third.config.budgets = model.config.budgets
        assert third.choose_budget(max_latency_ms=1e9) == "full"  # timed again


def test_a_call_of_choose_budget_is_fast(make_model, cache):
    model = make_model(min_tokens_to_drop=0)
    model.config.budgets = entries("another machine", runtime_name(model))
    arguments = [{"speedup": 0.001}, {"max_latency_ms": 1e9, "tokens": 100}, {"max_latency_ms": 1e9, "batch_size": 4}]
    for limits in arguments:
        model.choose_budget(**limits)
        begin = time.perf_counter()
        for _ in range(1000):
            model.choose_budget(**limits)
        assert time.perf_counter() - begin < 0.5


def test_latency_depends_on_tokens_and_batch_size(model, cache):
    model, calls, milliseconds = model
    for tokens, batch_size in ((16, 1), (40, 1), (128, 1), (1, 1), (16, 8), (16, 3)):
        expected = milliseconds["a"] * (1 + max(16, tokens) * batch_size / 64)
        limits = {"tokens": tokens, "batch_size": batch_size}
        assert model.choose_budget(max_latency_ms=1.05 * expected, **limits) == [0.9, 0.8, 0.7, 0.6]
        with pytest.raises(ValueError, match="No budget of this model gives"):
            model.choose_budget(max_latency_ms=0.95 * expected, max_loss=0.03, **limits)
    assert {call[:2] for call in calls} == {(1, 16), (1, 24), (1, 128), (8, 16)}
    model.config.min_tokens_to_drop = 64  # shorter examples keep all tokens: no budget is faster than full length
    model.config.budgets = dict(model.config.budgets) | {"other": [0.5] * 4}
    assert model.choose_budget(speedup=1, tokens=63) == "full"
    with pytest.raises(ValueError, match="gives speedup=1.2"):
        model.choose_budget(speedup=1.2, tokens=63)


@pytest.mark.parametrize(
    "wrong", [{"tokens": 0}, {"tokens": 129}, {"tokens": 8.0}, {"tokens": True}, {"batch_size": 0}, {"batch_size": "8"}]
)
def test_impossible_inputs_are_refused_before_any_timing(model, cache, wrong):
    model, calls, _ = model
    [name] = wrong
    with pytest.raises(ValueError, match=f"{name} is"):
        model.choose_budget(speedup=2, **wrong)
    with pytest.raises(TypeError):
        model.choose_budget(speed_up=2)
    assert not calls


def test_refresh_and_changed_budgets(model, cache):
    model, calls, milliseconds = model
    assert model.choose_budget(max_latency_ms=12) == [0.9, 0.8, 0.7, 0.6]
    milliseconds["a"] = 50  # the machine has changed
    assert model.choose_budget(max_latency_ms=12) == [0.9, 0.8, 0.7, 0.6]
    timed = len(calls)
    with pytest.raises(ValueError, match="max_latency_ms=12"):
        model.choose_budget(max_latency_ms=12, refresh=True)
    assert len(calls) > timed and model.choose_budget(max_latency_ms=100) == "full"
    timed = len(calls)
    model.config.budgets["a"]["f1"] = 81.0  # better than full length
    assert model.choose_budget(max_latency_ms=100) == [0.9, 0.8, 0.7, 0.6] and len(calls) == timed
    model.config.budgets["a"]["length_config"] = [0.9, 0.8, 0.7, 0.5]
    assert model.choose_budget(max_latency_ms=100) == [0.9, 0.8, 0.7, 0.5] and len(calls) > timed


def test_a_busy_machine_is_reported_and_not_stored(model, cache, caplog, clock):
    model, calls, _ = model
    waits = itertools.cycle([0, 40])
    model.register_forward_pre_hook(lambda *_: clock.pass_time(next(waits)))
    with caplog.at_level(logging.WARNING):
        model.choose_budget(max_latency_ms=1000)
        timed = len(calls)
        model.choose_budget(max_latency_ms=1000)
    assert caplog.text.count("This machine is busy") == 1 and "refresh=True" in caplog.text and not cache.exists()
    assert len(calls) == timed


def test_many_threads_choose_at_once(model, cache):
    model, calls, _ = model
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: model.choose_budget(speedup=2, max_loss=0.1), range(40)))
    assert found == [[0.6, 0.5, 0.4, 0.3]] * 40
    rounds = len(calls) / (3 * (WARMUP + 2 * BURST))
    assert rounds == int(rounds) <= 5  # timed by one thread


def test_budgets_of_both_kinds_live_together():
    config = DynamicTinyBertConfig(num_hidden_layers=4, budgets={"half": [0.5] * 4} | entries("m", "r"))
    assert list(length_configs(config)) == ["half", "a", "b"]
    assert config.resolve_budget("a") == SubNetwork([0.9, 0.8, 0.7, 0.6]) and config.resolve_budget("full") == SubNetwork()
    for wrong in ({"full": [0.5] * 4}, {"full": {"length_config": [0.5] * 4}}):
        with pytest.raises(ValueError, match="cannot be redefined"):
            DynamicTinyBertConfig(num_hidden_layers=4, budgets=wrong)
    with pytest.raises(ValueError, match=r'budgets\["a"\]: length_config increases'):
        DynamicTinyBertConfig(num_hidden_layers=4, budgets={"a": {"length_config": [0.5, 0.6, 0.5, 0.4], "f1": 1.0}})
    with pytest.raises(ValueError, match=r'budgets\["a"\]: a budget other than "full" needs'):
        DynamicTinyBertConfig(num_hidden_layers=4, budgets={"a": {"f1": 1.0}})
