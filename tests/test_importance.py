"""Learned importance by hand on small tensors, and a strategy of a person's own."""

import math

import pytest
import torch
from conftest import make_batch
from torch import nn

from hf_dynbert import DynamicTinyBertForQuestionAnswering
from hf_dynbert.importance import (
    IMPORTANCES,
    Importance,
    register_importance,
    soft_matches,
    take_segment,
    window_coverage,
)


@pytest.fixture
def word_importance():
    """A strategy outside of the package: a linear score of a token's state, chosen before attention where asked for."""

    @register_importance("words")
    class WordImportance(Importance):
        is_learned = True
        may_select_early = True

        def make_scorer(self, config, layer_idx):
            return nn.Linear(config.hidden_size, 1)

        def score(self, layer, states, tokens, attention):
            return layer.token_scorer(states).squeeze(-1)

        def loss(self, scores, target, mask):
            return ((scores - target)[mask] ** 2).mean()

    yield "words"
    del IMPORTANCES["words"]


def test_a_strategy_of_ones_own(word_importance, bert_folder, tmp_path):
    options = {"importance": word_importance, "min_tokens_to_drop": 0, "early_selection_until": 1}
    model = DynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder, **options).eval()
    batch = make_batch()
    output = model(**batch, budget=[0.5] * 4, output_token_scores=True)
    scores, kept = output.token_scores[0], output.kept_tokens
    real = batch["attention_mask"].bool()
    for row in range(len(real)):
        candidates = scores[row, 1 : int(real[row].sum())]  # CLS stays whatever its score
        best = candidates.topk(int(kept[row].sum()) - 1).indices + 1
        assert kept[row].nonzero().flatten().tolist() == sorted([0, *best.tolist()])
    loss = IMPORTANCES[word_importance].loss(scores, torch.zeros_like(scores), real)
    loss.backward()
    assert model.bert.encoder.layer[0].token_scorer.weight.grad.abs().sum() > 0
    model.save_pretrained(tmp_path)
    again = DynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(again(**batch, budget=[0.5] * 4).start_logits, output.start_logits)
    model.set_importance("cls")
    assert not any("token_scorer" in name for name in model.state_dict())


def test_segment_tokens_come_in_order_and_are_marked():
    tokens = torch.arange(10.0).reshape(2, 5, 1)
    segment = torch.tensor([[False, True, False, True, True], [True, False, False, False, False]])
    terms, filled = take_segment(tokens, segment)
    assert filled.tolist() == [[True, True, True], [True, False, False]]
    assert terms[0, :, 0].tolist() == [1.0, 3.0, 4.0]
    assert terms[1, 0, 0] == 5.0


def test_an_example_without_a_segment_has_no_terms():
    terms, filled = take_segment(torch.ones(1, 4, 2), torch.zeros(1, 4, dtype=torch.bool))
    assert terms.shape == (1, 1, 2)
    assert not filled.any()


def test_a_match_depends_on_the_angle_alone():
    keys = torch.tensor([[[3.0, 0.0], [0.0, 0.1], [-2.0, 0.0]]])
    queries = torch.tensor([[[10.0, 0.0]]])
    matches = soft_matches(keys, queries, torch.tensor(2.0), torch.tensor(1.0))[0, 0]
    wanted = torch.tensor([1 / (1 + math.exp(-argument)) for argument in (1.0, -1.0, -3.0)])
    torch.testing.assert_close(matches, wanted, atol=1e-6, rtol=0)  # fp32 rounding of numbers below 1


def test_coverage_takes_each_terms_best_match_in_the_window_once():
    matches = torch.tensor([[[0.9, 0.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.8], [0.0, 0.0]]])  # five slots, two terms
    weights = torch.tensor([[[1.0, 10.0], [2.0, 20.0]]])  # two terms, two windows
    own = torch.tensor([0.9, 0.5, 0.0, 1.6, 0.0])
    near = torch.tensor([9.0, 9.0, 5.0 + 16.0, 16.0, 16.0])
    torch.testing.assert_close(window_coverage(matches.transpose(1, 2), weights, [0, 1])[0], own + near)


def test_a_window_wider_than_the_input_covers_it():
    matches = torch.rand(2, 3, 4)
    coverage = window_coverage(matches.transpose(1, 2), torch.ones(2, 4, 1), [50])
    torch.testing.assert_close(coverage, matches.max(dim=1).values.sum(dim=1, keepdim=True).expand(2, 3))


def test_windows_in_any_order_are_maxima_around_each_token():
    matches = torch.rand(2, 3, 40)
    for windows in ([0, 4, 12, 36], [7, 2, 2, 0], [50]):
        weights, expected = torch.rand(2, 3, len(windows)), 0
        for column, window in enumerate(windows):
            best = torch.stack([matches[..., max(0, i - window) : i + window + 1].amax(dim=-1) for i in range(40)], dim=-1)
            expected = expected + (weights[..., column, None] * best).sum(dim=1)
        torch.testing.assert_close(window_coverage(matches, weights, windows), expected)
