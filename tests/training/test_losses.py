"""Losses against independent closed forms."""

import math

import pytest
import torch

from hf_dynbert.training.losses import (
    divergence,
    list_divergence,
    logit_divergence,
    margin_error,
    relation_divergence,
    relation_scores,
    saliency,
    score_error,
    soft_cross_entropy,
    state_error,
    target_divergence,
)


STUDENT, TEACHER = [[0.3, -1.2, 2.0], [1.0, 1.5, -0.5]], [[1.1, 0.4, -0.7], [0.2, 0.1, 0.0]]
LENGTHS = (5, 3)
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


def softmax(row):
    total = sum(map(math.exp, row))
    return [math.exp(value) / total for value in row]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_divergence(reverse, temperature):
    pairs = [[softmax([x / temperature for x in row]) for row in rows] for rows in zip(TEACHER, STUDENT, strict=True)]
    wanted = temperature**2 * mean(kl(*(pair[::-1] if reverse else pair)) for pair in pairs)
    found = divergence(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature=temperature, reverse=reverse)
    assert found.item() == pytest.approx(wanted, rel=1e-5)  # float32


def test_divergence_counts_only_what_the_mask_marks():
    mask = torch.tensor([[True, True, False], [True, False, True]])
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    wanted = mean(
        kl(*(softmax([row[i] for i in kept]) for row in rows))
        for kept, rows in zip([(0, 1), (0, 2)], zip(TEACHER, STUDENT, strict=True), strict=True)
    )
    assert divergence(student, teacher, mask).item() == pytest.approx(wanted, rel=1e-5)
    assert torch.equal(divergence(student.masked_fill(~mask, 1e4), teacher, mask), divergence(student, teacher, mask))


def test_divergence_teaches_the_student_only():
    student, teacher = (torch.tensor(rows, requires_grad=True) for rows in (STUDENT, TEACHER))
    assert divergence(student, student).item() == pytest.approx(0, abs=1e-6)
    divergence(student, teacher).backward()
    wanted = (student.softmax(-1) - teacher.softmax(-1)) / 2  # gradient of the mean over two examples
    torch.testing.assert_close(student.grad, wanted.detach())
    assert teacher.grad is None


def test_logit_divergence_by_kind():
    """A shift of all logits changes sigmoids and numbers, but no softmax."""
    full = torch.tensor([[2.0, -1.0, 0.5]])
    shifted = full + 5
    assert logit_divergence(shifted, full, "single_label_classification").item() == pytest.approx(0, abs=1e-6)
    assert logit_divergence(shifted, full, "regression").item() == pytest.approx(25)
    p, q = full.double().sigmoid(), shifted.double().sigmoid()
    wanted = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item()
    assert logit_divergence(shifted, full, "multi_label_classification").item() == pytest.approx(wanted, rel=1e-4)


def test_target_divergence():
    scores, logits = torch.tensor([[1.0, 3.0, 9.0], [0.5, 0.0, -1.0]]), torch.tensor([[2.0, 1.0, 9.0], [0.0, 0.0, 1.0]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    for temperature in (1.0, 2.0):
        target = (logits / temperature).softmax(-1)
        pairs = [[softmax((x[row][mask[row]] / temperature).tolist()) for x in (logits, scores)] for row in range(2)]
        wanted = temperature**2 * mean(kl(*pair) for pair in pairs)
        assert target_divergence(scores, target, mask, temperature).item() == pytest.approx(wanted, rel=1e-4)
        # 1e-6: rounding of logarithms
        assert target_divergence(logits, target, mask, temperature).item() == pytest.approx(0, abs=1e-6)
    certain = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert torch.isfinite(target_divergence(scores, certain, mask))
    scores.requires_grad_()
    target_divergence(scores, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]), mask).backward()
    assert scores.grad[0].abs().max() > 0 and scores.grad[1].abs().max() == 0  # without answers nothing is learned


def test_loss_of_learned_importance():
    """The cross-entropy of the scores against a distribution over all tokens; a token that does not count has no part."""
    scores, target = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 9.0]]), torch.tensor([[0.4, 1.2, 0.4], [0.0, 0.0, 1.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    q = softmax([1.0, 2.0])
    wanted = -(0.2 * math.log(q[0]) + 0.6 * math.log(q[1])) / 2  # the second example has no mass that counts
    assert soft_cross_entropy(scores, target, mask).item() == pytest.approx(wanted, rel=1e-5)
    assert soft_cross_entropy(scores.masked_fill(~mask, -torch.inf), target, mask).item() == pytest.approx(wanted, rel=1e-5)


def test_saliency_of_a_linear_model_is_its_terms():
    state = torch.randn(2, 3, 4, requires_grad=True)
    weight = torch.randn(4)
    logits = torch.stack([(state @ weight).sum(1), torch.full((2,), -1e9)], dim=1)
    torch.testing.assert_close(saliency(logits, [state])[0], (state.detach() @ weight).abs())


# Losses between layers


def states(seed, width=8):
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed))


def scores_by_hand(left, right, heads):
    """Nested lists `[example][head][query][key]` without padding."""
    width = left.shape[-1] // heads
    return [
        [
            [
                [sum(float(left[b, i, h * width + d] * right[b, j, h * width + d]) for d in range(width)) / width**0.5
                 for j in range(length)]
                for i in range(length)
            ]
            for h in range(heads)
        ]
        for b, length in enumerate(LENGTHS)
    ]  # fmt: skip


def test_state_error():
    student, teacher = states(0), states(1)
    wanted = mean(
        mean(float(student[b, i, d] - teacher[b, i, d]) ** 2 for i in range(length) for d in range(8))
        for b, length in enumerate(LENGTHS)
    )
    assert state_error(student, teacher, MASK).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_relation_divergence(heads):
    student, teacher = states(0), states(1, width=16)  # widths may differ: only the heads have to agree
    by_hand = zip(scores_by_hand(student, student, heads), scores_by_hand(teacher, teacher, heads), strict=True)
    wanted = mean(
        mean(
            kl(softmax(t_row), softmax(s_row))
            for s_head, t_head in zip(s_heads, t_heads, strict=True)
            for s_row, t_row in zip(s_head, t_head, strict=True)
        )
        for s_heads, t_heads in by_hand
    )
    found = relation_divergence(*(relation_scores(x, x, heads) for x in (student, teacher)), MASK)
    assert found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("probabilities", [False, True])
def test_score_error(probabilities):
    pairs = [states(0), states(1)], [states(2), states(3)]
    s, t = (scores_by_hand(*pair, 2) for pair in pairs)
    how = softmax if probabilities else list
    wanted = mean(
        mean(
            (a - b) ** 2
            for s_head, t_head in zip(s[example], t[example], strict=True)
            for s_row, t_row in zip(s_head, t_head, strict=True)
            for a, b in zip(how(s_row), how(t_row), strict=True)
        )
        for example in range(2)
    )
    found = score_error(*(relation_scores(*pair, 2) for pair in pairs), MASK, probabilities=probabilities)
    assert found.item() == pytest.approx(wanted, rel=1e-4)


def of_relations(loss, **options):
    return lambda s, t, mask: loss(relation_scores(s, s, 4), relation_scores(t, t, 4), mask, **options)


LOSSES = {
    "states": state_error,
    "relations": of_relations(relation_divergence),
    "scores": of_relations(score_error),
    "probabilities": of_relations(score_error, probabilities=True),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_padding_and_other_examples_change_no_loss_between_layers(loss):
    student, teacher = states(0).requires_grad_(), states(1).requires_grad_()
    assert loss(student, student.detach(), MASK).item() == 0
    whole = loss(student, teacher, MASK)
    whole.backward()
    assert teacher.grad is None
    assert student.grad[MASK].abs().sum() > 0 and not student.grad[~MASK].any()  # padding teaches nothing
    noisy = [torch.where(MASK[:, :, None], x, 50 * torch.randn_like(x)) for x in (student, teacher)]
    wider = [torch.nn.functional.pad(x, (0, 0, 0, 3), value=7.0) for x in noisy]
    # 1e-5: sums of other lengths, in another order
    torch.testing.assert_close(loss(*wider, torch.nn.functional.pad(MASK, (0, 3))), whole, atol=1e-5, rtol=1e-5)
    halves = [loss(student[i : i + 1], teacher[i : i + 1], MASK[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(sum(halves) / 2, whole, atol=1e-5, rtol=1e-5)  # two steps of one example are one of two


def test_losses_of_rankings_are_their_formulas():
    student, teacher = torch.randn(7, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    groups = torch.tensor([0, 0, 0, 2, 2, 5, 2])  # three passages, three, and one alone
    members = [[0, 1, 2], [3, 4, 6], [5]]
    margins, lists = [], []
    for group in members:
        pairs = [(a, b) for place, a in enumerate(group) for b in group[place + 1 :]]
        errors = [((student[a] - student[b]) - (teacher[a] - teacher[b])).item() ** 2 for a, b in pairs]
        margins.append(sum(errors) / len(errors) if errors else 0.0)
        target, own = (scores[group].softmax(0) for scores in (teacher, student))
        lists.append((target * (target / own).log()).sum().item())
    assert margin_error(student, teacher, groups).item() == pytest.approx(sum(margins) / 3, rel=1e-5)  # float32
    assert list_divergence(student, teacher, groups).item() == pytest.approx(sum(lists) / 3, rel=1e-5)  # float32
    assert margin_error(student, student + 3, groups).item() == pytest.approx(0, abs=1e-10)
    assert list_divergence(student, student + 3, groups).item() == pytest.approx(0, abs=1e-6)  # float32
    alone = torch.randn(1, requires_grad=True)
    margin_error(alone, torch.zeros(1), torch.tensor([0])).backward()
    assert alone.grad.item() == 0
