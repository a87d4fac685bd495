"""Objectives of distillation against independent closed forms, and the maps of layers."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from conftest import NO_THREAD_OF_GLOO, make_batch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetForQuestionAnswering,
)

from hf_dynbert import DistillationArguments
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import freeze_lowest, run_recipe
from hf_dynbert.training.layer_maps import layer_map
from hf_dynbert.training.losses import relation_divergence, relation_scores, score_error, state_error


LENGTHS = (5, 3)
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


def states(seed, width=8):
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed))


def softmax(row):
    total = sum(map(math.exp, row))
    return [math.exp(value) / total for value in row]


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


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_state_error_closed_form():
    student, teacher = states(0), states(1)
    wanted = mean(
        mean(float(student[b, i, d] - teacher[b, i, d]) ** 2 for i in range(length) for d in range(8))
        for b, length in enumerate(LENGTHS)
    )
    assert state_error(student, teacher, MASK).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_relation_divergence_closed_form(heads):
    student, teacher = states(0), states(1, width=16)  # widths may differ: only the heads have to agree
    by_hand = zip(scores_by_hand(student, student, heads), scores_by_hand(teacher, teacher, heads), strict=True)
    wanted = mean(
        mean(
            sum(t * math.log(t / s) for s, t in zip(softmax(s_row), softmax(t_row), strict=True))
            for s_head, t_head in zip(s_heads, t_heads, strict=True)
            for s_row, t_row in zip(s_head, t_head, strict=True)
        )
        for s_heads, t_heads in by_hand
    )
    found = relation_divergence(*(relation_scores(x, x, heads) for x in (student, teacher)), MASK)
    assert found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("probabilities", [False, True])
def test_score_error_closed_form(probabilities):
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


LOSSES = {
    "states": state_error,
    "relations": lambda s, t, mask: relation_divergence(relation_scores(s, s, 4), relation_scores(t, t, 4), mask),
    "scores": lambda s, t, mask: score_error(relation_scores(s, s, 4), relation_scores(t, t, 4), mask),
    "probabilities": lambda s, t, mask: score_error(
        relation_scores(s, s, 4), relation_scores(t, t, 4), mask, probabilities=True
    ),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_losses_of_states(loss):
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


def test_scores_are_those_of_transformers(bert_folder):
    model = AutoModelForQuestionAnswering.from_pretrained(bert_folder, attn_implementation="eager").eval()
    batch, attention, seen = make_batch((20, 9)), model.bert.encoder.layer[1].attention.self, {}
    for name in ("query", "key"):
        getattr(attention, name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        probabilities = model(**batch, output_attentions=True).attentions[1]
    scores = relation_scores(seen["query"], seen["key"], model.config.num_attention_heads)
    keys = batch["attention_mask"].bool()[:, None, None]
    torch.testing.assert_close(scores.masked_fill(~keys, -torch.inf).softmax(-1), probabilities, atol=1e-6, rtol=0)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="8 dimensions cannot be split into 3 relation heads"):
        relation_scores(states(0), states(1), 3)


@pytest.mark.parametrize(
    ("how", "student", "teacher", "wanted"),
    [
        ("uniform", 6, 12, [2, 4, 6, 8, 10, 12]),
        ("uniform", 4, 12, [3, 6, 9, 12]),
        ("uniform", 3, 6, [2, 4, 6]),
        ("uniform", 2, 2, [1, 2]),
        ("last", 3, 12, [10, 11, 12]),
        ([1, 1, 12], 3, 12, [1, 1, 12]),
    ],
)
def test_layer_maps(how, student, teacher, wanted):
    assert layer_map(how, student, teacher) == wanted


@pytest.mark.parametrize(
    ("how", "student", "teacher", "message"),
    [
        ("uniform", 5, 12, "12 layers of the teacher are no multiple of the student's 5; use 'last', or a list of 5"),
        ("last", 6, 3, "the student has 6 layers, the teacher 3"),
        ("first", 3, 6, "the layer map is 'first'; valid are 'uniform', 'last', and lists"),
        ([1, 2], 3, 6, r"the layer map \[1, 2\] has 2 layers; the student has 3"),
        ([0, 2, 4], 3, 6, "valid are increasing layers of the teacher, 1 to 6"),
        ([2, 1, 4], 3, 6, "valid are increasing layers"),
        ([2, 4, 7], 3, 6, "valid are increasing layers"),
    ],
)
def test_bad_layer_maps_are_refused(how, student, teacher, message):
    with pytest.raises(ValueError, match=message):
        layer_map(how, student, teacher)


@pytest.fixture
def mpnet(sizes, tokenizer, tmp_path):
    torch.manual_seed(0)
    MPNetForQuestionAnswering(MPNetConfig(**sizes)).save_pretrained(tmp_path / "mpnet")
    tokenizer.save_pretrained(tmp_path / "mpnet")
    return tmp_path / "mpnet"


def test_a_teacher_is_fine_tuned_as_it_is(mpnet, squad_file, tmp_path):
    args = DistillationArguments(str(tmp_path / "out"), length_drop=False, max_steps=2, use_cpu=True, report_to=[])
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    folder = run_recipe(ModelArguments(str(mpnet), length_adaptive=False, hidden_dropout_prob=0.0), data, args)
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    assert type(model) is MPNetForQuestionAnswering and model.config.hidden_dropout_prob == 0.0
    before = AutoModelForQuestionAnswering.from_pretrained(mpnet)
    assert not torch.equal(model.qa_outputs.weight, before.qa_outputs.weight)


def test_frozen_layers_stay_as_they_are(mpnet, squad_file, tmp_path):
    args = DistillationArguments(str(tmp_path / "out"), length_drop=False, max_steps=1, use_cpu=True, report_to=[])
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    source = ModelArguments(str(mpnet), length_adaptive=False, freeze_layers=2)
    before = AutoModelForQuestionAnswering.from_pretrained(mpnet).state_dict()
    after = AutoModelForQuestionAnswering.from_pretrained(run_recipe(source, data, args)).state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    lowest = ("embeddings", "relative_attention_bias", "layer.0.", "layer.1.")
    assert moved and not [name for name in moved if any(part in name for part in lowest)]
    assert {name for name in after if "layer.2." in name} <= moved


def test_a_teacher_with_older_names_resumes_where_it_was(mpnet, squad_file, tmp_path):
    weights = load_file(mpnet / "model.safetensors")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, old in older.items():
        weights = {name.replace(new, old): tensor for name, tensor in weights.items()}
    save_file(weights, mpnet / "model.safetensors", metadata={"format": "pt"})
    data = DataArguments(train_file=[str(squad_file)], max_length=120, stride=8)
    source = ModelArguments(str(mpnet), length_adaptive=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    def train(folder):
        options = {"max_steps": 4, "save_steps": 2, "use_cpu": True, "report_to": [], "learning_rate": 1e-2}
        args = DistillationArguments(str(folder), length_drop=False, **options)
        run_recipe(source, data, args)
        return AutoModelForQuestionAnswering.from_pretrained(folder).state_dict()

    whole = train(tmp_path / "whole")
    (tmp_path / "again").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "again" / "checkpoint-2")
    record = json.loads((tmp_path / "whole" / "_run.json").read_text())
    (tmp_path / "again" / "_run.json").write_text(json.dumps(record | {"finished": False}))
    resumed = train(tmp_path / "again")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor)


@pytest.mark.parametrize("layers", [-1, 4])
def test_a_model_is_not_frozen_altogether(bert_folder, layers):
    with pytest.raises(ValueError, match=f"freeze_layers={layers}, but the model has 4 layers"):
        freeze_lowest(AutoModelForQuestionAnswering.from_pretrained(bert_folder), layers)


def test_a_length_adaptive_model_can_be_frozen_below(make_model):
    model = make_model()
    freeze_lowest(model, 1)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen and all("embeddings" in name or "layer.0." in name for name in frozen)


def test_a_model_as_it_is_cannot_learn_to_drop(mpnet, tmp_path):
    with pytest.raises(ValueError, match="length_adaptive=False cannot; use length_drop=False"):
        run_recipe(
            ModelArguments(str(mpnet), length_adaptive=False),
            DataArguments(["none.json"]),
            DistillationArguments(str(tmp_path), use_cpu=True),
        )


PLAIN = """
import sys
from hf_dynbert.training.arguments import DistillationArguments
from hf_dynbert.training.processes import end_together
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
student, teacher, data, output = sys.argv[1:]
off = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
args = DistillationArguments(output, use_cpu=True, max_steps=3, per_device_train_batch_size={size}, logging_steps=1,
    train_sampling_strategy="sequential", save_steps=3, optim="sgd", learning_rate=0.02, max_grad_norm=0, report_to=[],
    length_drop=False, importance="all", relation_weight=1.0, relation_heads=4)
run_recipe(ModelArguments(student, teacher_model_name_or_path=teacher, **off),
    DataArguments([data], "plain-text", max_length=16), args)
end_together()
"""


def test_two_processes_on_plain_text_are_one(bert_folder, tokenizer, sizes, tmp_path):
    """With relations alone, the loss comes from inside the model and reaches no output."""
    torch.manual_seed(4)
    BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    (tmp_path / "text.txt").write_text("ada wrote the song by night.\nthe ship lit the tower at 9.\n\n" * 24)
    environment, found = {**os.environ, "OMP_NUM_THREADS": "1"}, []
    for processes in (1, 2):
        script, output = tmp_path / f"script{processes}.py", tmp_path / f"out{processes}"
        script.write_text(PLAIN.replace("{size}", str(8 // processes)) + NO_THREAD_OF_GLOO)
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
        command = [sys.executable, *launch, script, bert_folder, tmp_path / "teacher", tmp_path / "text.txt", output]
        finished = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
        assert finished.returncode == 0, finished.stderr[-3000:]
        history = json.loads((output / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
        found.append((load_file(output / "checkpoint-3" / "model.safetensors"), history))
    (one, alone), (two, together) = found
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)  # sums in another order, three SGD steps
    for mine, theirs in zip(alone, together, strict=True):
        assert theirs["loss_relation"] == pytest.approx(mine["loss_relation"], rel=1e-3)  # of all processes, as the loss is
