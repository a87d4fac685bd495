"""Validation, counting, sampling and cost of length configurations."""

import random
from contextlib import nullcontext

import pytest

from hf_dynbert import DynamicTinyBertConfig, count_macs, fit_length_config
from hf_dynbert.budgets.sampling import (
    constant_drop,
    parse_length_config,
    sample_length_config,
    sample_placement,
    sample_subnetwork,
)
from hf_dynbert.subnetwork import SubNetwork, dropping_layers, token_count, validate_length_config


BERT_BASE = DynamicTinyBertConfig()
TINYBERT6 = DynamicTinyBertConfig(num_hidden_layers=6)
MINILM = DynamicTinyBertConfig(num_hidden_layers=6, hidden_size=384, intermediate_size=1536)


@pytest.mark.parametrize(
    ("config", "length_config", "published"),
    [
        (BERT_BASE, None, "35.3"),
        (TINYBERT6, None, "17.7"),
        (MINILM, None, "4.76"),
        (MINILM, [269, 253, 252, 202, 104, 34], "2.49"),
        (MINILM, [315, 251, 242, 159, 142, 33], "2.55"),
    ],
)
def test_macs_equal_the_published_values(config, length_config, published):
    assert f"{count_macs(config, length_config, 384) / 1e9:.3g}" == published


@pytest.mark.parametrize(
    ("length_config", "length", "counts"),
    [
        ([0.1] * 3, 30, [3] * 3),  # 0.1 * 30 is 3.0000000000000004 in floating point
        ([1.0, 0.5, 0.01], 7, [7, 4, 2]),
        ([1.0, 0.5, 0.5], 1, [1, 1, 1]),
        ([20, 5, 1], 9, [9, 5, 2]),
    ],
)
def test_token_counts(length_config, length, counts):
    assert [token_count(entry, length) for entry in length_config] == counts


@pytest.mark.parametrize(
    ("length_config", "message"),
    [
        ([0.5, 0.6, 0.4], "increases at layer 1"),
        ([0.5, 0.4], "2 entries, the model has 3 layers"),
        ([5, 4, 3, 2], "4 entries, the model has 3 layers"),
        ([5, 4, 0], "out of range"),
        ([-0.5, -0.6, -0.7], "out of range"),
        ([1.5, 1.0, 0.5], "out of range"),
        ([float("nan")] * 3, "out of range"),
        ([1.0, float("nan"), 0.5], "out of range"),
        ([1.0, 0.5, float("nan")], "out of range"),
        ([2**31, 5, 5], "out of range"),
        ([2**63, 2**63, 2**63], "out of range"),
        ([float("inf"), 0.5, 0.5], "out of range"),
        ([5, 0.5, 0.5], "mixed types"),
        ([True, True, True], "mixed types"),
        ("fast", "not a list"),
        (0.5, "not a list"),
        ([], "0 entries"),
    ],
)
def test_impossible_length_configs_are_refused(length_config, message):
    with pytest.raises(ValueError, match=message) as error:
        validate_length_config(length_config, 3)
    assert "for example" in str(error.value)  # the error shows one that works


def test_samples_are_seeded_monotone_and_within_the_bound():
    for seed in range(50):
        one, two = (sample_length_config(random.Random(seed), 6, 0.2, range(6)) for _ in range(2))
        assert one == two
        validate_length_config(one, 6)
        before = 1.0
        for entry in one:
            assert entry >= 0.8 * before - 1e-4  # shares are rounded to ten-thousandths
            before = entry


def test_only_the_given_layers_drop():
    sampled = sample_length_config(random.Random(0), 6, 0.5, [1, 4])
    assert sampled[0] == 1.0
    assert sampled[1] == sampled[2] == sampled[3] < 1.0
    assert sampled[4] == sampled[5] < sampled[3]


def test_only_a_models_own_layers_drop():
    config = DynamicTinyBertConfig(num_hidden_layers=6, drop_layers=[1, 4])
    rng = random.Random(0)
    for _ in range(50):
        sampled = sample_subnetwork(rng, config, 0.5)
        config.resolve_budget(sampled)  # or an error
    assert set().union(*(sample_placement(rng, [1, 4]) for _ in range(50))) == {1, 4}
    assert constant_drop(4, 0.5, [1, 3]) == [1.0, 0.5, 0.5, 0.25]
    assert list(dropping_layers(config)) == [1, 4]
    assert list(dropping_layers(MINILM)) == list(range(6))


@pytest.mark.parametrize(
    ("length_config", "valid"),
    [
        ([1.0, 0.5, 0.5, 0.2], True),
        ([0.9, 0.5, 0.5, 0.2], False),
        ([1.0, 0.5, 0.4, 0.2], False),
        ([512, 60, 60, 60], True),
        ([100, 60, 60, 60], False),
    ],
)
def test_drops_elsewhere_are_refused(length_config, valid):
    with nullcontext() if valid else pytest.raises(ValueError, match="drops in layers 2, 4 only"):
        DynamicTinyBertConfig(num_hidden_layers=4, drop_layers=[1, 3]).resolve_budget(length_config)


def test_a_layer_that_is_left_out_drops_later():
    some, every = (DynamicTinyBertConfig(num_hidden_layers=4, drop_layers=layers) for layers in ([0, 2], None))
    shares, tokens = [0.8, 0.8, 0.5, 0.5], [20, 20, 9, 9]
    assert SubNetwork(shares, [1, 2, 3]).layer_entries(some) == [(1, None), (2, 0.5), (3, 0.5)]
    assert SubNetwork(shares).layer_entries(some) == list(enumerate(shares))
    assert SubNetwork(tokens, [1, 3]).layer_entries(some) == [(1, None), (3, None)]
    assert SubNetwork([0.8, 0.6, 0.5, 0.5], [1, 3]).layer_entries(every) == [(1, 0.6), (3, 0.5)]


BUDGETS = {
    "bare": [1.0, 0.5, 0.5, 0.2],
    "measured": {"length_config": [20, 9, 9, 9], "f1": 80.0, "macs": 1e9},
    "shallow": {"layers": [0, 3]},
    "both": {"layers": [0, 3], "length_config": [0.9, 0.5, 0.5, 0.5], "latency_ms": 1.0},
    "full": {"f1": 81.0},
}


@pytest.mark.parametrize(
    ("value", "entry"),
    [
        (None, {"layers": [0, 3]}),  # the default of the configuration
        ("full", {}),
        ("bare", {"length_config": [1.0, 0.5, 0.5, 0.2]}),
        ("measured", {"length_config": [20, 9, 9, 9]}),
        ("both", {"layers": [0, 3], "length_config": [0.9, 0.5, 0.5, 0.5]}),
        ((9, 9, 3, 3), {"length_config": [9, 9, 3, 3]}),
        ({"layers": [1], "length_config": None}, {"layers": [1]}),
        ({"layers": range(4)}, {}),
        ({}, {}),
        (SubNetwork(layers=[1, 2]), {"layers": [1, 2]}),
    ],
)
def test_every_form_of_a_budget_is_parsed(value, entry):
    config = DynamicTinyBertConfig(num_hidden_layers=4, budgets=BUDGETS, length_config="shallow")
    subnetwork = config.resolve_budget(value)
    assert subnetwork == SubNetwork(**entry)
    assert subnetwork == config.resolve_budget(subnetwork) == SubNetwork.parse(config, entry)
    assert hash(subnetwork) == hash(config.resolve_budget(value))  # caches use it as a key


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("bar", "valid are full, bare, measured, shallow, both. Did you mean 'bare'"),
        ({"lenght_config": [0.5] * 4}, "Did you mean 'length_config'"),
        ({"f1": 80.0}, "valid are length_config, layers"),
        ({"length_config": "bare"}, "not a list of numbers"),
        ({"layers": []}, "increasing indices from 0 to 3"),
        ({"layers": [-1]}, "increasing indices"),
        ({"layers": [4]}, "increasing indices"),
        ({"layers": [3, 1]}, "increasing indices"),
        ({"layers": [0, 0]}, "increasing indices"),
        ({"layers": [0.0]}, "increasing indices"),
        ({"layers": [True]}, "increasing indices"),
        ({"layers": 2}, "increasing indices"),
        (SubNetwork([0.5] * 3), "3 entries, the model has 4 layers"),
        (0.5, "not a list of numbers"),
    ],
)
def test_impossible_budgets_are_refused(value, message):
    config = DynamicTinyBertConfig(num_hidden_layers=4, budgets=BUDGETS)
    with pytest.raises(ValueError, match=message):
        config.resolve_budget(value)


def test_macs_count_only_the_layers_that_run():
    config = DynamicTinyBertConfig(num_hidden_layers=4, hidden_size=32, num_attention_heads=4, intermediate_size=64)
    embeddings = 30 * 32
    one_layer = count_macs(config, SubNetwork(layers=[0]), 30) - embeddings
    assert count_macs(config, SubNetwork(layers=[1, 3]), 30) == embeddings + 2 * one_layer
    assert count_macs(config, SubNetwork(), 30) == embeddings + 4 * one_layer == count_macs(config, None, 30)


@pytest.mark.parametrize("layers", [[0, 1, 2, 3, 4, 5], [0, 2], [1]])
@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.5])
def test_fitted_length_configs_cost_what_was_asked(layers, ratio):
    fitted = fit_length_config(MINILM, ratio, layers)
    validate_length_config(fitted, 6)
    cost = count_macs(MINILM, fitted, 384) / count_macs(MINILM, None, 384)
    assert cost == pytest.approx(ratio, abs=0.02)  # fitted at 160 tokens; attention weighs more at 384


def test_sampled_budgets_cover_the_cost_range_and_every_layer():
    rng = random.Random(0)
    samples = [sample_subnetwork(rng, MINILM, 0.3).length_config for _ in range(300)]
    costs = [count_macs(MINILM, sample, 160) / count_macs(MINILM, None, 160) for sample in samples]
    assert min(costs) < 0.35
    assert max(costs) > 0.95
    first_drops = {next((i for i, share in enumerate(sample) if share < 1), None) for sample in samples}
    assert {0, 1, 2, 3, 4, 5} <= first_drops


def test_placements_drop_everywhere_every_other_time_and_anywhere_otherwise():
    rng = random.Random(0)
    placements = [sample_placement(rng, range(6)) for _ in range(400)]
    everywhere = sum(len(placement) == 6 for placement in placements) / len(placements)
    assert 0.5 < everywhere < 0.67  # one half, and a sixth of the other half: 0.583, four standard deviations around it
    assert {len(placement) for placement in placements} == {1, 2, 3, 4, 5, 6}
    assert all(weight > 0 for placement in placements for weight in placement.values())


@pytest.mark.parametrize(("ratio", "layers"), [(0, [1]), (1.5, [1]), (0.5, []), (0.5, [6]), (0.5, [-1])])
def test_fit_refuses_nonsense(ratio, layers):
    with pytest.raises(ValueError, match="valid are"):
        fit_length_config(MINILM, ratio, layers)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("0.9,0.5, 0.3", [0.9, 0.5, 0.3]),
        ("(269, 253, 34)", [269, 253, 34]),
        ("[1, 0.5]", [1.0, 0.5]),
        ("7", [7]),
        ("fast", "fast"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_length_configs_are_read_as_typed_and_never_run(text, parsed):
    assert parse_length_config(text) == parsed
