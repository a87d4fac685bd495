"""Ranking within a deadline, on a clock that only calls of the model move: their times are exact and known."""

import time

import pytest
import torch
from transformers import pipeline

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification


QUERY = "who lit the tower?"
PASSAGES = [
    f"{name} {verb} the {thing}"
    for name in ("ada", "ben", "cleo")
    for verb in ("lit", "wrote", "built", "keeps")
    for thing in ("tower", "ship", "song")
]
SHARES = {"full": None, "half": [0.6, 0.5, 0.5, 0.5], "third": [0.5, 0.3, 0.2, 0.2]}
PER_PASSAGE = {"full": 4.0, "half": 2.0, "third": 1.0}  # milliseconds; a call has 8 passages, copies included


class Clock:
    """Time that stands still between calls of the model."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock.perf_counter)
    return clock


@pytest.fixture
def calls():
    return []


@pytest.fixture
def speed():
    """Factor on the time of each call that ranks; measurements of budgets always see 1."""
    return {"factor": 1.0, "ranking": False}


@pytest.fixture
def rank(sizes, tokenizer, clock, calls, speed):
    torch.manual_seed(0)
    config = DynamicTinyBertConfig(**sizes, num_labels=1, min_tokens_to_drop=0)
    model = DynamicTinyBertForSequenceClassification(config).eval()
    model.config.budgets = {name: shares for name, shares in SHARES.items() if shares is not None}

    def pass_time(module, args, kwargs):
        examples = len(kwargs["input_ids"])
        clock.now += examples * PER_PASSAGE[kwargs["budget"]] * (speed["factor"] if speed["ranking"] else 1.0) / 1000
        if speed["ranking"]:
            calls.append((kwargs["budget"], examples))

    model.register_forward_pre_hook(pass_time, with_kwargs=True)
    ranking = pipeline("text-reranking", model=model, tokenizer=tokenizer)
    ranking(query=QUERY, passages=PASSAGES, max_latency_ms=10)  # measures the budgets
    speed["ranking"] = True
    calls.clear()
    return ranking


def ranked(rank, milliseconds, passages=PASSAGES, **options):
    found = rank(query=QUERY, passages=passages, max_latency_ms=milliseconds, return_report=True, **options)
    assert sorted(item["index"] for item in found["ranking"]) == list(range(len(passages)))
    return found["ranking"], found["report"]


def test_with_time_for_everything_the_order_is_full_lengths(rank):
    found, report = ranked(rank, 4 * 40 / 0.9 + 1)
    assert [(stage["budget"], stage["scored"]) for stage in report["stages"]] == [("full", 36)]
    right = rank(query=QUERY, passages=PASSAGES, budget="full")
    assert [item["index"] for item in found] == [item["index"] for item in right]
    assert {item["budget"] for item in found} == {"full"} and report["not_scored"] == 0


@pytest.mark.parametrize("milliseconds", [45, 60, 100, 120, 160])
def test_the_best_are_scored_again_at_larger_budgets(rank, milliseconds):
    found, report = ranked(rank, milliseconds)
    stages = report["stages"]
    assert report["milliseconds"] <= milliseconds and report["not_scored"] == 0
    assert stages[0]["budget"] == "third" and stages[0]["scored"] == 36
    assert [stage["budget"] for stage in stages] == sorted((s["budget"] for s in stages), key=PER_PASSAGE.get)
    first = rank(query=QUERY, passages=PASSAGES, budget="third")
    if len(stages) > 1:  # the best passages of the first stage were scored again and come first
        again = stages[1]["scored"]
        assert again >= 20 and {item["index"] for item in found[:again]} == {item["index"] for item in first[:again]}
        assert {item["budget"] for item in found[:again]} <= {"half", "full"}
        assert [item["index"] for item in found[again:]] == [item["index"] for item in first[again:]]
    else:
        assert milliseconds < (40 + 2 * 24) / 0.9 and [item["index"] for item in found] == [item["index"] for item in first]
    if milliseconds == 160:
        assert stages[1]["budget"] == "full"


@pytest.mark.parametrize("factor", [1.5, 3.0])
@pytest.mark.parametrize("milliseconds", [40, 80, 160])
def test_a_slower_machine_scores_less_and_keeps_the_deadline(rank, speed, milliseconds, factor):
    speed["factor"] = factor
    found, report = ranked(rank, milliseconds)
    slowest = 8 * PER_PASSAGE[report["stages"][0]["budget"]] * (factor - 1)  # the first call does not know of the slowness
    assert report["milliseconds"] <= milliseconds + slowest
    missed = [item for item in found if item["score"] is None]
    assert len(missed) == report["not_scored"] and found[len(found) - len(missed) :] == missed


def test_without_time_for_all_the_first_passages_are_scored(rank, calls):
    found, report = ranked(rank, 20)
    scored = report["stages"][0]["scored"]
    assert 0 < scored < 36 and report["not_scored"] == 36 - scored and report["milliseconds"] <= 20
    assert {item["index"] for item in found[:scored]} == set(range(scored))
    assert [item["index"] for item in found[scored:]] == list(range(scored, 36))
    assert all(item["score"] is None and item["budget"] is None for item in found[scored:])
    _, report = ranked(rank, 0.001)  # no time at all: one call is made, and the report says that it was late
    assert report["stages"][0]["scored"] == 1 and report["milliseconds"] > 0.001


def test_the_deadline_is_an_option_of_the_pipeline_too(rank, tokenizer):
    fixed = pipeline("text-reranking", model=rank.model, tokenizer=tokenizer, max_latency_ms=1000)
    assert fixed(query=QUERY, passages=PASSAGES, return_report=True)["report"]["stages"][0]["budget"] == "full"
    assert fixed(query=QUERY, passages=PASSAGES, budget="third") == rank(query=QUERY, passages=PASSAGES, budget="third")
    assert len(fixed(query=QUERY, passages=PASSAGES, top_k=3)) == 3
    half = pipeline("text-reranking", model=rank.model, tokenizer=tokenizer, budget="half")
    assert {item["budget"] for item in half(query=QUERY, passages=PASSAGES, max_latency_ms=1000)} == {"full"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_latency_ms": 0}, "max_latency_ms is 0; valid are numbers above 0"),
        ({"max_latency_ms": float("nan")}, "max_latency_ms is nan"),
        ({"max_latency_ms": "80"}, "max_latency_ms is '80'"),
        ({"max_latency_ms": 80, "budget": "half"}, "leave budget='half' out"),
        ({"max_latency_ms": 80, "speedup": 2}, "leave speedup=2 out"),
        ({"return_report": True}, "give max_latency_ms too"),
    ],
)
def test_wrong_deadlines(rank, options, message):
    with pytest.raises(ValueError, match=message):
        rank(query=QUERY, passages=PASSAGES, **options)


def test_a_model_without_budgets_ranks_at_full_length(sizes, tokenizer):
    model = DynamicTinyBertForSequenceClassification(DynamicTinyBertConfig(**sizes, num_labels=1)).eval()
    rank = pipeline("text-reranking", model=model, tokenizer=tokenizer)
    found, report = ranked(rank, 60_000)
    assert [(stage["budget"], stage["scored"]) for stage in report["stages"]] == [("full", 36)]
    assert [item["index"] for item in found] == [item["index"] for item in rank(query=QUERY, passages=PASSAGES)]


def test_short_passages_are_called_apart(rank, calls):
    """Those that keep all tokens at every budget are in calls of their own, as the runtime computes them."""
    rank.model.config.min_tokens_to_drop = 25
    passages = PASSAGES[:6] + [f"{text} by night at 1907" for text in PASSAGES[:5]]
    ranked(rank, 1e6, passages)  # times the budgets, which keep other tokens now
    calls.clear()
    _, report = ranked(rank, 1e6, passages)
    assert report["stages"][0]["scored"] == 11 and calls == [("full", 8), ("full", 8)]
