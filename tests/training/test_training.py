"""The sub-networks of a step, and what training with them does."""

import math
import random

import pytest
import torch
from conftest import randomize_scorers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, TrainerCallback

from hf_dynbert import (
    DistillationArguments,
    DistillationTrainer,
    DynamicTinyBertConfig,
    DynamicTinyBertForSequenceClassification,
    count_macs,
    training_features,
)
from hf_dynbert.subnetwork import validate_length_config
from hf_dynbert.training.objective import sample_sandwich


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


def test_layer_drop_never_leaves_an_empty_model(make_model, arguments):
    config, args = make_model().config, arguments(layer_dropout_prob=0.9)
    samples = [sub.layers for seed in range(50) for sub in sample_sandwich(random.Random(seed), config, args)]
    assert min(map(len, samples)) == 1
    assert all(list(sample) == sorted(set(sample)) for sample in samples)


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


def test_budgets_of_the_model_are_trained_with_their_probability(arguments):
    named = [[0.9, 0.5, 0.4, 0.3, 0.2, 0.1], [0.8, 0.4, 0.3, 0.2, 0.1, 0.1]]
    config = DynamicTinyBertConfig(num_hidden_layers=6, budgets={"half": named[0], "third": named[1]})
    args = arguments(num_sandwich=1, always_smallest=False, budget_prob=0.6)
    drawn = [sample_sandwich(random.Random(seed), config, args)[1].length_config for seed in range(200)]
    for length_config in map(tuple, named):
        assert 0.3 - 0.13 < drawn.count(length_config) / 200 < 0.3 + 0.13  # four standard deviations
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


class Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


def losses(trainer):
    return {log["step"]: log["loss"] for log in trainer.state.log_history if "loss" in log}


def test_a_resumed_run_repeats_the_losses_bit_for_bit(make_model, questions, tokenizer, arguments, tmp_path):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "layer_dropout_prob": 0.2}
    whole = make_trainer(make_model, questions, tokenizer, arguments(**options))
    whole.train()
    options["output_dir"] = str(tmp_path / "killed")
    killed = make_trainer(make_model, questions, tokenizer, arguments(**options))
    killed.add_callback(Kill(3))
    killed.train()
    resumed = make_trainer(make_model, questions, tokenizer, arguments(**options))
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed" / "checkpoint-2"))
    assert losses(resumed) == losses(whole)
    for name, value in parameters(whole).items():
        assert torch.equal(parameters(resumed)[name], value), name


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "length-adaptive-transformer", "layer_dropout_prob": 0.2, "importance": "all"},
        {"importance": "question", "temperature": 2.0, "bf16": True},
        {"importance": "cls", "num_sandwich": 0, "always_smallest": True},
        {"drop_layers": [1], "layer_dropout_prob": 0.4, "max_steps": 4, "importance": "learned"},
        {"drop_layers": [0, 2], "preset": "dynamic-tinybert"},
        {"early_selection_until": 2, "gradient_checkpointing": True, "importance": "learned"},
    ],
    ids=str,
)
def test_options_run_and_stay_finite(make_model, questions, tokenizer, arguments, options):
    config = {name: options.pop(name) for name in ("drop_layers", "early_selection_until") if name in options}
    trainer = make_trainer(make_model, questions, tokenizer, arguments(**{"max_steps": 1} | options), **config)
    trainer.train()
    assert all(math.isfinite(loss) for loss in losses(trainer).values())


def test_training_lowers_the_loss(make_model, questions, tokenizer, arguments):
    args = arguments(max_steps=20, per_device_train_batch_size=16, learning_rate=3e-3, importance="learned")
    trainer = make_trainer(make_model, questions, tokenizer, args, dropped_logits="mask")
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
        ({"layer_dropout_prob": 1.0}, "layer_dropout_prob is 1.0; valid are"),
        ({"smallest_macs": 0}, "smallest_macs is 0; valid are"),
        ({"num_sandwich": -1}, "num_sandwich is -1; valid are"),
        ({"budget_prob": 1.5}, "budget_prob is 1.5; valid are"),
        ({"temperature": float("nan")}, "temperature is nan; valid are"),
        ({"num_sandwich": 0, "always_smallest": False}, "use num_sandwich=1"),
        ({"smallest_macs": 0.5, "largest_macs": 0.4}, "largest_macs is 0.4; valid are"),
        ({"preset": "bert"}, "'length-adaptive-transformer', 'dynamic-tinybert'"),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}, "use_reentrant=True"),
        ({"fsdp": "full_shard"}, "fsdp splits the weights"),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, "deepspeed splits the weights"),
    ],
)
def test_bad_arguments_are_refused(arguments, kwargs, message):
    with pytest.raises(ValueError, match=message):
        arguments(**kwargs)
