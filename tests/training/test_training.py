"""Losses against closed forms, the sandwich, and the Trainer's promises."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import NO_THREAD_OF_GLOO, randomize_scorers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, TrainerCallback

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertConfig,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    count_macs,
    training_features,
)
from hf_dynbert.subnetwork import validate_length_config
from hf_dynbert.training.length_drop import sample_layers, sample_sandwich
from hf_dynbert.training.losses import answer_distribution, divergence, saliency, soft_cross_entropy


def closed_form_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def distribution(logits):
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


STUDENT, TEACHER = [[0.3, -1.2, 2.0], [1.0, 1.5, -0.5]], [[1.1, 0.4, -0.7], [0.2, 0.1, 0.0]]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("direction", ["forward", "reference"])
def test_divergence_closed_form(direction, temperature):
    pairs = [[distribution([x / temperature for x in row]) for row in rows] for rows in zip(TEACHER, STUDENT, strict=True)]
    if direction != "forward":
        pairs = [(student, teacher) for teacher, student in pairs]
    wanted = temperature**2 * sum(closed_form_kl(p, q) for p, q in pairs) / 2
    measured = divergence(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature=temperature, direction=direction)
    assert measured.item() == pytest.approx(wanted, rel=1e-5)  # float32


def test_divergence_counts_only_what_the_mask_marks():
    mask = torch.tensor([[True, True, False], [True, False, True]])
    student, teacher = torch.tensor(STUDENT), torch.tensor(TEACHER)
    wanted = sum(
        closed_form_kl(*(distribution([row[i] for i in keep]) for row in rows))
        for keep, rows in zip([(0, 1), (0, 2)], zip(TEACHER, STUDENT, strict=True), strict=True)
    )
    assert divergence(student, teacher, mask).item() == pytest.approx(wanted / 2, rel=1e-5)
    changed = student.masked_fill(~mask, 1e4)
    assert torch.equal(divergence(changed, teacher, mask), divergence(student, teacher, mask))


def test_divergence_is_zero_for_equal_predictions_and_teaches_the_student_only():
    student, teacher = (torch.tensor(rows, requires_grad=True) for rows in (STUDENT, TEACHER))
    assert divergence(student, student).item() == pytest.approx(0, abs=1e-6)
    divergence(student, teacher).backward()
    wanted = (student.softmax(-1) - teacher.softmax(-1)) / 2  # gradient of the mean over two examples
    torch.testing.assert_close(student.grad, wanted.detach())
    assert teacher.grad is None
    with pytest.raises(ValueError, match="valid are 'forward'"):
        divergence(student, teacher, direction="backward")


def test_soft_cross_entropy_closed_form():
    scores, target = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 9.0]]), torch.tensor([[0.4, 1.2, 0.4], [0.0, 0.0, 1.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    q = distribution([1.0, 2.0])
    wanted = -(0.2 * math.log(q[0]) + 0.6 * math.log(q[1])) / 2  # the second example has no mass that counts
    assert soft_cross_entropy(scores, target, mask).item() == pytest.approx(wanted, rel=1e-5)
    assert soft_cross_entropy(scores.masked_fill(~mask, -torch.inf), target, mask).item() == pytest.approx(wanted, rel=1e-5)


def test_answer_distribution_is_a_mean_of_softmaxes():
    start, end = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, -1.0]])
    p, q = distribution([1.0, 2.0]), distribution([0.0, -1.0])
    assert answer_distribution(start, end)[0].tolist() == pytest.approx([(a + b) / 2 for a, b in zip(p, q, strict=True)])


def test_saliency_of_a_linear_model_is_its_terms():
    state = torch.randn(2, 3, 4, requires_grad=True)
    weight = torch.randn(4)
    logits = torch.stack([(state @ weight).sum(1), torch.full((2,), -1e9)], dim=1)
    torch.testing.assert_close(saliency(logits, [state])[0], (state.detach() @ weight).abs())


@pytest.fixture
def arguments(tmp_path):
    def make(**kwargs):
        options = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "save_strategy": "no",
            "logging_steps": 1,
        }
        return DistillationArguments(**(options | kwargs))

    return make


@pytest.mark.parametrize("preset", [None, "dynamic-tinybert", "length-adaptive-transformer"])
def test_sandwich(make_model, arguments, preset):
    config = make_model().config
    args = arguments(preset=preset, num_sandwich=3, always_smallest=True, smallest_macs=0.4)
    passes = sample_sandwich(random.Random(0), config, args)
    assert len(passes) == 5
    assert passes[0].length_config is None
    costs = []
    for sub in passes[1:]:
        validate_length_config(sub.length_config, 4)
        costs.append(count_macs(config, sub.length_config, 160))
    if preset:
        assert passes[1].length_config == pytest.approx((0.8, 0.64, 0.512, 0.4096))
        assert costs[0] == min(costs)
    assert sample_sandwich(random.Random(0), config, args) == passes


def test_layer_drop_never_leaves_an_empty_model():
    rng = random.Random(0)
    samples = [sample_layers(rng, 4, 0.9) for _ in range(100)]
    assert all(samples)
    assert min(map(len, samples)) == 1
    assert all(sample == sorted(sample) for sample in samples)
    assert sample_layers(rng, 4, 0.0) is None


def make_trainer(make_model, questions, tokenizer, args, **config):
    model = make_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **config)
    features = training_features(questions, tokenizer, max_length=128, stride=16)
    return DistillationTrainer(
        model, args, train_dataset=features, data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer
    )


def parameters(trainer):
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


def test_without_the_smallest_only_sampled_sub_models_run(arguments):
    config = DynamicTinyBertConfig(num_hidden_layers=6)
    args = arguments(num_sandwich=2, always_smallest=False, smallest_macs=0.4, largest_macs=0.6)
    full, *subs = sample_sandwich(random.Random(1), config, args)
    assert full.length_config is None
    assert len(subs) == 2
    for sub in subs:
        cost = count_macs(config, sub.length_config, 160) / count_macs(config, None, 160)
        assert 0.39 < cost < 0.61  # whole tokens of 160, rounded up


def test_budgets_of_the_model_are_trained_as_often_as_asked(arguments):
    named = [[0.9, 0.5, 0.4, 0.3, 0.2, 0.1], [0.8, 0.4, 0.3, 0.2, 0.1, 0.1]]
    config = DynamicTinyBertConfig(num_hidden_layers=6, budgets={"half": named[0], "third": named[1]})
    args = arguments(num_sandwich=1, always_smallest=False, budget_prob=0.6)
    drawn = [sample_sandwich(random.Random(seed), config, args)[1].length_config for seed in range(500)]
    for length_config in map(tuple, named):
        assert 0.3 - 0.08 < drawn.count(length_config) / 500 < 0.3 + 0.08  # four standard deviations
    args = arguments(num_sandwich=2, budget_prob=0.0)
    plain = [sub.length_config for sub in sample_sandwich(random.Random(0), config, args)]
    assert not any(length_config in map(tuple, named) for length_config in plain)


def test_budget_prob_without_budgets_is_refused(make_model, arguments):
    with pytest.raises(ValueError, match="config.budgets is empty"):
        DistillationTrainer(make_model(), arguments(budget_prob=0.5))


def test_training_learns_importance_and_logs_each_term_on_its_own_scale(make_model, questions, tokenizer, arguments):
    args = arguments(num_sandwich=1, always_smallest=True, importance="learned", importance_weight=0.5)
    trainer = make_trainer(make_model, questions, tokenizer, args)
    before = parameters(trainer)
    trainer.train()
    assert trainer.model.config.importance == "learned"
    log = trainer.state.log_history[0]
    labels, in_place, importance = (log[f"loss_{name}"] for name in ("labels", "in_place", "importance"))
    assert log["loss"] == pytest.approx(labels / 3 + in_place * 2 / 3 + 0.5 * importance, rel=1e-4)
    changed = {
        name for name, value in parameters(trainer).items() if name in before and not torch.equal(before[name], value)
    }
    assert all(name in changed for name in before if "key.bias" not in name)
    assert trainer.model.config.length_config is None


def test_objective_is_the_weighted_sum_of_its_parts(make_model, questions, tokenizer, arguments):
    args = arguments(num_sandwich=1, always_smallest=True, importance_weight=0.5)
    trainer = make_trainer(make_model, questions, tokenizer, args, importance="learned", protect_first_segment=True)
    model = randomize_scorers(trainer.model).train()
    inputs = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(model, dict(inputs))
    passes = sample_sandwich(random.Random(f"{args.seed}-0"), model.config, args)
    spans = {name: inputs[name] for name in ("start_positions", "end_positions")}
    features = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    full = model(**features, length_config="full", output_token_scores=True)
    wanted, sub_scores = 0, []
    real = inputs["attention_mask"].bool()
    for logits, gold in zip((full.start_logits, full.end_logits), spans.values(), strict=True):
        for row in range(4):
            wanted = wanted - logits[row][real[row]].log_softmax(-1)[gold[row]] / 4 / 2 / 3
    for sub in passes[1:]:
        output = model(**features, budget=sub, output_token_scores=True)
        sub_scores.append(output.token_scores)
        for name in ("start_logits", "end_logits"):
            for row in range(4):
                p, q = full[name][row][real[row]].softmax(-1), output[name][row][real[row]].softmax(-1)
                wanted = wanted + (p * (p / q).log()).sum() / 4 / 2 / 3
    context = inputs["token_type_ids"].bool()
    scores_of_passes = [full.token_scores, *sub_scores]
    for layers in scores_of_passes:
        for scores in layers:
            for row in range(4):
                chosen = context[row] & torch.isfinite(scores[row])
                target = (full.start_logits[row][real[row]].softmax(-1) + full.end_logits[row][real[row]].softmax(-1)) / 2
                target = torch.zeros_like(scores[row]).masked_scatter(real[row], target)
                entropy = -(target[chosen] * scores[row][chosen].log_softmax(-1)).sum()
                wanted = wanted + 0.5 * entropy / 4 / 4 / 3  # rows, layers, passes
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_gradient_accumulation_changes_nothing(make_model, questions, tokenizer, arguments):
    results = []
    for size, steps in ((8, 1), (2, 4)):
        args = arguments(
            per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=2, optim="sgd",
            train_sampling_strategy="sequential", max_grad_norm=0, learning_rate=0.1, importance_learning_rate=0.1,
        )  # fmt: skip
        trainer = make_trainer(make_model, questions, tokenizer, args, importance="learned")
        randomize_scorers(trainer.model)
        trainer.train()
        results.append(parameters(trainer))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, atol=1e-5, rtol=0)  # sums in another order, two SGD steps


class Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


def losses(trainer):
    return {log["step"]: log["loss"] for log in trainer.state.log_history if "loss" in log}


def test_a_resumed_run_repeats_the_losses_bit_for_bit(make_model, questions, tokenizer, arguments, tmp_path):
    options = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "layer_dropout_prob": 0.2}
    whole = make_trainer(make_model, questions, tokenizer, arguments(**options))
    whole.train()
    options["output_dir"] = str(tmp_path / "killed")
    killed = make_trainer(make_model, questions, tokenizer, arguments(**options))
    killed.add_callback(Kill(4))
    killed.train()
    resumed = make_trainer(make_model, questions, tokenizer, arguments(**options))
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed" / "checkpoint-3"))
    assert losses(resumed) == losses(whole)
    for name, value in parameters(whole).items():
        assert torch.equal(parameters(resumed)[name], value), name


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "length-adaptive-transformer", "layer_dropout_prob": 0.2, "importance": "all"},
        {"importance": "learned"},
        {"importance": "question", "temperature": 2.0},
        {"importance": "cls", "num_sandwich": 0, "always_smallest": True},
        {"length_drop": False},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"drop_layers": [1], "layer_dropout_prob": 0.4, "max_steps": 6, "importance": "learned"},
        {"drop_layers": [0, 2], "preset": "dynamic-tinybert"},
        {"early_selection_until": 2, "gradient_checkpointing": True, "importance": "learned"},
    ],
    ids=str,
)
def test_options_run_and_stay_finite(make_model, questions, tokenizer, arguments, options):
    config = {name: options.pop(name) for name in ("drop_layers", "early_selection_until") if name in options}
    trainer = make_trainer(make_model, questions, tokenizer, arguments(**{"max_steps": 2} | options), **config)
    trainer.train()
    assert all(math.isfinite(loss) for loss in losses(trainer).values())


@pytest.mark.parametrize("dropped", ["restore", "mask"])
def test_training_lowers_the_loss(make_model, questions, tokenizer, arguments, dropped):
    args = arguments(max_steps=30, per_device_train_batch_size=16, learning_rate=3e-3, importance="learned")
    trainer = make_trainer(make_model, questions, tokenizer, args, dropped_logits=dropped)
    trainer.train()
    history = [log for log in trainer.state.log_history if "loss_labels" in log]
    assert history[-1]["loss_labels"] < 0.5 * history[0]["loss_labels"]
    assert history[-1]["loss_importance"] < history[0]["loss_importance"]


def test_classification(classifier_folder, tokenizer, arguments, tmp_path):
    texts = ["who lit the light", "ben wrote the song", "the ship at night"] * 4
    data = Dataset.from_dict({**tokenizer(texts), "labels": [0, 1, 2] * 4})
    model = DynamicTinyBertForSequenceClassification.from_pretrained(classifier_folder, min_tokens_to_drop=0)
    args = arguments(
        max_steps=20, per_device_train_batch_size=12, eval_strategy="steps", eval_steps=20, importance="learned",
        num_sandwich=2, always_smallest=True,
    )  # fmt: skip
    trainer = DistillationTrainer(
        model,
        args,
        train_dataset=data,
        eval_dataset=data,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )
    trainer.train()
    history = [log for log in trainer.state.log_history if "loss_importance" in log]
    for name in ("loss_labels", "loss_importance"):  # means of five steps: every step has its own sub-models and targets
        assert sum(log[name] for log in history[-5:]) < 0.95 * sum(log[name] for log in history[:5])
    assert [log for log in trainer.state.log_history if "eval_accuracy" in log]
    trainer.save_model(str(tmp_path / "saved"))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    inputs = tokenizer(texts[:3], padding=True, return_tensors="pt")
    trainer.model.eval()
    one, two = (m(**inputs, length_config=[0.8, 0.6, 0.5, 0.4]).logits for m in (again, trainer.model))
    assert torch.equal(one, two)


def test_compute_metrics_sees_the_logits_only(make_model, questions, tokenizer, arguments):
    features = training_features(questions, tokenizer, max_length=128, stride=16)
    seen = []
    model = make_model(importance="learned", length_config=[0.8, 0.6, 0.4, 0.3])
    trainer = DistillationTrainer(
        model,
        arguments(),
        eval_dataset=features,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda prediction: seen.append(prediction) or {},
    )
    metrics = trainer.evaluate()
    assert math.isfinite(metrics["eval_loss"])
    assert [array.shape[0] for array in seen[0].predictions] == [16, 16]
    assert [array.shape for array in seen[0].label_ids] == [(16,), (16,)]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"importance": "attention"}, "'all', 'question', 'cls', 'learned'"),
        ({"layer_dropout_prob": 1.0}, r"numbers in \[0, 1\)"),
        ({"smallest_macs": 0}, r"numbers in \(0, 1\]"),
        ({"num_sandwich": -1}, "0 and more"),
        ({"budget_prob": 1.5}, r"numbers in \[0, 1\]"),
        ({"num_sandwich": 0, "always_smallest": False}, "use num_sandwich=1"),
        ({"smallest_macs": 0.5, "largest_macs": 0.4}, r"from smallest_macs \(0.5\) to 1"),
        ({"preset": "bert"}, "'length-adaptive-transformer', 'dynamic-tinybert'"),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}, "use_reentrant=True"),
        ({"fsdp": "full_shard"}, "fsdp splits the weights"),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, "deepspeed splits the weights"),
    ],
)
def test_bad_arguments_are_refused(arguments, kwargs, message):
    with pytest.raises(ValueError, match=message):
        arguments(**kwargs)


TEN_LINES = """
import json, sys
from transformers import AutoTokenizer, DataCollatorWithPadding
from hf_dynbert import *
folder, data, output = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
off = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
model = DynamicTinyBertForQuestionAnswering.from_pretrained(folder, **off)
features = training_features(load_squad(data), tokenizer, max_length=128, stride=16)
args = DistillationArguments(output, use_cpu=True, max_steps=3, per_device_train_batch_size={size}, logging_steps=1,
    train_sampling_strategy="sequential", save_strategy="no", optim="sgd", learning_rate=0.1, max_grad_norm=0)
trainer = DistillationTrainer(model, args, train_dataset=features, data_collator=DataCollatorWithPadding(tokenizer))
trainer.train()
if trainer.is_world_process_zero():
    trainer.save_model(output)
end_together(trainer)
"""


def test_a_short_script_and_two_processes_give_the_same_model(bert_folder, questions, tmp_path):
    data = tmp_path / "squad.json"
    articles = [
        {
            "title": row["title"],
            "paragraphs": [
                {
                    "context": row["context"],
                    "qas": [
                        {
                            "id": row["id"],
                            "question": row["question"],
                            "answers": [{"text": row["answers"]["text"][0], "answer_start": 0}],
                        }
                    ],
                }
            ],
        }
        for row in questions
    ]
    data.write_text(json.dumps({"data": articles}))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    saved = []
    for processes in (1, 2):
        script = tmp_path / f"script{processes}.py"
        script.write_text(TEN_LINES.replace("{size}", str(8 // processes)) + NO_THREAD_OF_GLOO)
        launch = [sys.executable]
        if processes == 2:  # what `accelerate launch` runs for several processes; on CPUs it wants MPI instead
            launch += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        output = tmp_path / f"out{processes}"
        command = [*launch, str(script), str(bert_folder), str(data), str(output)]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent)
        assert finished.returncode == 0, finished.stderr[-3000:]
        saved.append(DynamicTinyBertForQuestionAnswering.from_pretrained(output).state_dict())
    for name, value in saved[0].items():
        torch.testing.assert_close(saved[1][name], value, atol=1e-5, rtol=0)  # sums in another order, three SGD steps
