"""The pure functions alone."""

import pytest
import torch

from hf_dynbert import DynamicTinyBertConfig
from hf_dynbert.drop_and_restore import (
    attention_received,
    compact_slots,
    first_segment,
    first_token,
    plan_layers,
    restore_tokens,
    select_tokens,
    take_tokens,
)
from hf_dynbert.subnetwork import SubNetwork


def mask(*rows):
    return torch.tensor([[character != "." for character in row] for row in rows])


def test_selection_is_sorted_deterministic_and_never_takes_padding():
    scores = torch.tensor([[1.0, 5.0, 5.0, 5.0, 9.0], [9.0, 1.0, 2.0, 3.0, 4.0]])
    present = mask("xxxxx", "xxx..")
    kept = select_tokens(scores, present, mask("x....", "....."), torch.tensor([3, 2]))
    assert torch.equal(kept, mask("xx..x", "x.x.."))  # protected first, then the best, then the earliest of the ties


def test_slots_are_those_of_the_marked_tokens_in_order():
    slots, filled = compact_slots(mask("xx..x", "x.x..", "....."), 4)  # wider than any row needs
    assert [row[there].tolist() for row, there in zip(slots, filled, strict=True)] == [[0, 1, 4], [0, 2], []]
    assert slots.min() >= 0 and slots.max() < 5  # what is not filled can be gathered too


def test_what_graphs_count_is_what_eager_code_searches():
    torch.manual_seed(0)
    scores = torch.randint(0, 4, (3, 20)).float()  # many ties
    present, protected = torch.rand(3, 20) < 0.8, torch.rand(3, 20) < 0.2
    counts = torch.minimum(torch.tensor([5, 12, 20]), present.sum(dim=1))

    def choose(scores, present, protected, counts):
        kept = select_tokens(scores, present, protected, counts)
        return kept, *compact_slots(kept, counts.max())

    inputs = (scores, present, protected, counts)
    for traced, eager in zip(torch.jit.trace(choose, inputs)(*inputs), choose(*inputs), strict=True):
        assert torch.equal(traced, eager)


def test_protected_tokens_yield_to_the_budget_from_the_end():
    kept = select_tokens(torch.rand(1, 6), mask("xxxxxx"), mask("xxxx.."), torch.tensor([3]))
    assert torch.equal(kept, mask("xxx..."))


def test_restoring_what_was_taken_gives_everything_back():
    states = torch.randn(2, 6, 3)
    slots, filled = torch.tensor([[0, 2, 5], [1, 4, 5]]), torch.tensor([[True] * 3, [True, True, False]])
    kept = take_tokens(states, slots)
    restored = restore_tokens(torch.zeros_like(states), kept, slots, filled)
    assert torch.equal(restored[0, [0, 2, 5]], states[0, [0, 2, 5]])
    assert torch.equal(restored[1, [1, 4]], states[1, [1, 4]])
    assert not restored[0, [1, 3, 4]].any()
    assert not restored[1, [0, 2, 3, 5]].any()  # the slot that is not filled wrote nothing


@pytest.mark.parametrize(
    ("types", "ids", "wanted"),
    [
        ([[0, 0, 0, 1, 1, 0]], None, "xxx..."),
        (None, [[2, 7, 3, 8, 3, 0]], "xxx..."),
        ([[0, 0, 0, 0, 0, 0]], [[2, 7, 3, 8, 3, 0]], "xxx..."),
        (None, [[2, 7, 3, 3, 8, 3]], "xxx..."),  # RoBERTa puts two separators between the segments
        (None, [[2, 7, 8, 9, 3, 0]], "......"),  # one segment only
        ([[0, 0, 0, 0, 0, 0]], None, "......"),
    ],
)
def test_first_segment(types, ids, wanted):
    present = torch.tensor([[True] * 5 + [ids is not None and ids[0][5] != 0]])
    types, ids = (None if x is None else torch.tensor(x) for x in (types, ids))
    assert torch.equal(first_segment(present, types, ids, sep_token_id=3), mask(wanted))


def test_first_token_skips_padding():
    assert torch.equal(first_token(mask("..xx", "xx..", "....")), mask("..x.", "x...", "...."))


def test_attention_received_is_a_sum_of_softmax_rows():
    query, key = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    present, voters = mask("xxxx.", "xxxxx"), mask("x.x.x", "....x")
    received = attention_received(query, key, present, voters, scaling=0.5)
    for row in range(2):
        keys = present[row].nonzero().flatten()
        votes = voters[row] & present[row]
        probabilities = (0.5 * query[row][:, votes] @ key[row][:, keys].transpose(1, 2)).softmax(-1)
        torch.testing.assert_close(received[row, keys], probabilities.sum(dim=(0, 1)))
    assert received[0, 4] == 0
    assert received.sum(dim=1).tolist() == pytest.approx([6, 3])  # heads times voters


def test_without_a_voter_all_vote():
    query, key, present = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4), mask("xxx.")
    everyone = attention_received(query, key, present, present, 1.0)
    torch.testing.assert_close(attention_received(query, key, present, mask("...x"), 1.0), everyone)


def test_plan_counts_real_tokens_and_skips_layers_that_drop_nothing():
    present = mask("xxxxxxxx", "xxxx....")
    config = DynamicTinyBertConfig(num_hidden_layers=4, min_tokens_to_drop=0)

    def plan(length_config, layers=None, tokens=present):
        return plan_layers(config, SubNetwork(length_config, layers), tokens, min_tokens=0)

    planned = plan([1.0, 0.5, 0.5, 0.1])
    assert [layer for layer, _ in planned] == [0, 1, 2, 3]
    plans = [layer_plan for _, layer_plan in planned]
    assert [layer_plan is None for layer_plan in plans] == [True, False, True, False]
    assert plans[1].counts.tolist() == [4, 2]
    assert (plans[1].width, plans[3].width) == (4, 2)
    nothing = [(layer, None) for layer in range(4)]
    assert plan([8, 8, 4, 4], tokens=mask("xxxx....", "xx......")) == nothing
    assert plan(None) == nothing
    assert [layer for layer, _ in plan([1.0, 0.5, 0.5, 0.1], layers=[0, 2])] == [0, 2]
