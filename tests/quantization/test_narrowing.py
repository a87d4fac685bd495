"""A copy without token matches ranks tokens as before, as far as a linear unit can."""

import pytest
import torch
from conftest import randomize_scorers
from torch import nn

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering
from hf_dynbert.quantization.arguments import QuantizeArguments
from hf_dynbert.quantization.calibration import calibration_calls, calibration_inputs
from hf_dynbert.quantization.strip_scorers import fit_unit, strip_scorers
from hf_dynbert.tasks import QUESTION_ANSWERING, DataOptions


BUDGETS = {"fast": [0.8, 0.5, 0.5, 0.2]}
OPTIONS = DataOptions(max_length=120, stride=8)


def test_a_unit_learns_what_is_linear():
    torch.manual_seed(0)
    truth, unit = torch.randn(6), nn.Linear(6, 1)
    examples = [torch.randn(length, 6) for length in (40, 60, 80)]
    fit_unit(unit, [(states, states @ truth + turn) for turn, states in enumerate(examples)])  # each with its own level
    # 1e-3: the ridge of 1e-4 draws each weight back by about that part of what was missing
    torch.testing.assert_close(unit.weight[0], truth, atol=1e-3, rtol=0)


def test_a_unit_that_says_it_all_stays():
    torch.manual_seed(0)
    unit = nn.Linear(6, 1)
    before, states = unit.weight.clone(), torch.randn(50, 6)
    fit_unit(unit, [(states, (states @ before[0]).detach() + 3.0)])
    torch.testing.assert_close(unit.weight, before, atol=1e-6, rtol=0)  # 1e-6: sums in another order


def test_directions_that_no_token_has_are_left_alone():
    unit = nn.Linear(6, 1)
    before, states = unit.weight.clone(), torch.zeros(50, 6)
    states[:, 0] = torch.linspace(-1, 1, 50)
    fit_unit(unit, [(states, 5 * states[:, 0])])
    assert torch.equal(unit.weight[0, 1:], before[0, 1:])
    assert unit.weight[0, 0].item() == pytest.approx(5, abs=0.01)  # the ridge


@pytest.fixture
def checkpoint(sizes, tokenizer, tmp_path):
    torch.manual_seed(0)
    options = {"importance": "learned", "importance_windows": [0], "budgets": BUDGETS}  # a match by the token's state alone
    config = DynamicTinyBertConfig(**sizes, **options, min_tokens_to_drop=0)
    model = randomize_scorers(DynamicTinyBertForQuestionAnswering(config))
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.token_scorer.term_weight.bias += 3.0  # matches that weigh as much as the unit
    model.save_pretrained(tmp_path)
    return tmp_path


def test_a_layer_that_no_longer_matches_ranks_nearer_to_before(checkpoint, tokenizer, questions):
    args = QuantizeArguments(model=str(checkpoint), output_dir="", importance_match_until=1)
    before = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).eval()
    cut = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint, importance_match_until=1).eval()
    inputs = calibration_inputs(QUESTION_ANSWERING, before.config, tokenizer, questions, OPTIONS, 60)
    inputs = inputs * 4  # each at several budgets: one draw of them leaves the last layer few tokens
    with strip_scorers(args, QUESTION_ANSWERING, before.config, inputs) as folder:
        fitted = DynamicTinyBertForQuestionAnswering.from_pretrained(folder).eval()
    assert fitted.config.importance_match_until == 1
    assert weights(fitted, "layer.0.") == weights(cut, "layer.0.")  # goes on matching: nothing to learn
    assert weights(fitted, "query") == weights(cut, "query")
    inputs = calibration_inputs(QUESTION_ANSWERING, before.config, tokenizer, questions, OPTIONS, 60, seed=1)
    calls = calibration_calls(before.config, inputs, seed=1)
    for layer in (1, 2, 3):
        missed = [error(model, before, calls, layer) for model in (cut, fitted)]
        assert missed[1] < 0.9 * missed[0]  # of the scores' variance; measured .35 to .84


def test_inputs_that_keep_all_their_tokens_are_fitted_too(checkpoint, tokenizer, questions):
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    inputs = calibration_inputs(QUESTION_ANSWERING, config, tokenizer, questions, OPTIONS, 20)
    args, fitted = QuantizeArguments(model=str(checkpoint), output_dir="", importance_match_until=1), []
    for min_tokens in (0, 128):  # all inputs are shorter than 128 tokens
        config.min_tokens_to_drop = min_tokens
        config.save_pretrained(checkpoint)
        with strip_scorers(args, QUESTION_ANSWERING, config, inputs) as folder:
            model = DynamicTinyBertForQuestionAnswering.from_pretrained(folder)
        assert model.config.min_tokens_to_drop == min_tokens
        fitted.append(weights(model, "token_scorer"))
    assert fitted[0] == fitted[1]


def test_what_a_dropped_token_answers_can_change(checkpoint):
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    args = QuantizeArguments(model=str(checkpoint), output_dir="", dropped_logits="mask")
    with strip_scorers(args, QUESTION_ANSWERING, config, []) as folder:
        model = DynamicTinyBertForQuestionAnswering.from_pretrained(folder)
    assert model.config.dropped_logits == "mask" and weights(model, "") == weights(
        DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint), ""
    )
    wrong = QuantizeArguments(model=str(checkpoint), output_dir="", dropped_logits="forget")
    with pytest.raises(ValueError, match="'restore', 'mask'"), strip_scorers(wrong, QUESTION_ANSWERING, config, []):
        pass


def test_nothing_to_leave_out_is_no_copy(checkpoint):
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    args = QuantizeArguments(model=str(checkpoint), output_dir="")
    with strip_scorers(args, QUESTION_ANSWERING, config, []) as folder:
        assert folder == str(checkpoint)


def weights(model, part: str) -> dict:
    return {name: value.tolist() for name, value in model.state_dict().items() if part in name}


def error(model, reference, calls: list, layer: int) -> float:
    """Variance within examples of the difference of two models' scores, of context tokens, at full length."""
    total = 0.0
    for features, _ in calls:
        batch = {name: torch.tensor([ids]) for name, ids in features.items()}
        with torch.no_grad():
            scores = [m(**batch, output_token_scores=True).token_scores[layer][0] for m in (model, reference)]
        total += (scores[0] - scores[1])[batch["token_type_ids"][0].bool()].var().item()
    return total / len(calls)
