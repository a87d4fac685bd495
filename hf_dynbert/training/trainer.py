# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The Trainer: one objective more than its parent."""

import random

import torch
from transformers import Trainer

from ..drop_and_restore import first_segment, first_token
from ..length_config import dropping_layers
from ..modeling_dynamic_tinybert import TokenScorer
from .arguments import DistillationArguments
from .length_drop import SubModel, sample_sandwich
from .losses import answer_distribution, divergence, saliency, soft_cross_entropy, target_divergence
from .teachers import TARGETS


class DistillationTrainer(Trainer):
    """A [`~transformers.Trainer`] for length-adaptive models.

    Modifications: `compute_loss` adds LengthDrop with the sandwich rule and in-place distillation (arXiv 2010.07003,
    section 3.2), a teacher's answers where the features have them (columns `teacher_start`, `teacher_end`, which so are not
    removed as unused), and the training of learned importance; `create_optimizer` gives the scorers their own learning rate;
    `log` adds each part of the objective by name. The samples of a step are drawn from the seed and the step's number
    alone, so a resumed run and an accumulated batch see the same.

    Args:
        model (`DynamicTinyBertForQuestionAnswering` or `DynamicTinyBertForSequenceClassification`): model to train.
        args (`DistillationArguments`): the objective, and what every Trainer takes.
        kwargs: what every Trainer takes.

    Example:

    ```python
    >>> trainer = DistillationTrainer(model, DistillationArguments("outputs"), train_dataset=features)
    >>> trainer.train()
    ```
    """

    def __init__(self, model=None, args: DistillationArguments | None = None, **kwargs):
        args = args or DistillationArguments()
        super().__init__(model=model, args=args, **kwargs)
        if args.length_drop and args.budget_prob and not getattr(self.model.config, "budgets", None):
            raise ValueError(
                f"budget_prob is {args.budget_prob}, but the model's config.budgets is empty. Give it budgets before "
                'training, for example model.config.budgets = {"half": [0.7, 0.6, ...]}, or set budget_prob=0.'
            )
        if args.length_drop and hasattr(self.model, "set_importance"):
            self.model.set_importance(args.importance)  # after the parent's seed: new scorers are the same in every run
        self.model_accepts_loss_kwargs = False  # compute_loss returns a batch's mean, whatever the accumulation
        self._parts: dict[str, torch.Tensor] = {}
        self._passes = 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean loss of a batch: the model's own in evaluation, the whole objective in training."""
        inputs = dict(inputs)
        targets = {name: inputs.pop(name) for name in TARGETS if name in inputs}
        if not model.training or not (self.args.length_drop or targets):
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        if not self.args.length_drop:
            full = model(**inputs)
            parts = self._task_parts(full, inputs, targets)
            self._record(parts)
            loss = sum(parts.values())
            return (loss, full) if return_outputs else loss
        config = self.accelerator.unwrap_model(model).config
        rng = random.Random(f"{self.args.seed}-{self.state.global_step}")
        passes = sample_sandwich(rng, config, self.args)
        learned = config.importance == "learned"
        watch = {"output_token_scores": learned, "output_hidden_states": learned and "start_positions" not in inputs}
        features = {name: value for name, value in inputs.items() if name not in self.label_names}
        full, *subs = outputs = [
            self._run(model, features if index else inputs, sub_model, **watch) for index, sub_model in enumerate(passes)
        ]
        weight = 1 / len(passes)
        parts = {name: weight * part for name, part in self._task_parts(full, inputs, targets).items()}
        for index, sub in enumerate(subs):
            name = "smallest" if index == 0 and self.args.always_smallest else "between"
            parts[name] = parts.get(name, 0) + weight * self._divergence(sub, full, inputs, config)
        if learned:
            ran = [sub_model.layer_config or range(config.num_hidden_layers) for sub_model in passes]
            layers = [[layer for layer in run if layer in dropping_layers(config)] for run in ran]
            scores = [list(zip(*run, strict=True)) for run in zip(layers, (o.token_scores for o in outputs), strict=True)]
            parts["importance"] = self.args.importance_weight * self._importance_loss(full, ran[0], scores, inputs, config)
        self._record(parts)
        loss = sum(parts.values())
        return (loss, full) if return_outputs else loss

    def create_optimizer(self, *args, **kwargs) -> torch.optim.Optimizer:
        """Moves the scorers into a group of their own."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        scorers = [p for module in self.model.modules() if isinstance(module, TokenScorer) for p in module.parameters()]
        if fresh and scorers:
            mine = {id(parameter) for parameter in scorers}
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in mine]
            optimizer.add_param_group({"params": scorers, "lr": self.args.importance_learning_rate, "weight_decay": 0.0})
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the objective, each a mean over the batches since the last time."""
        if "loss" in logs and self._passes:
            logs |= {f"loss_{name}": (value / self._passes).item() for name, value in self._parts.items()}
            self._parts, self._passes = {}, 0
        super().log(logs, start_time)

    @staticmethod
    def _run(model, inputs, sub_model: SubModel, **kwargs):
        return model(
            **inputs, length_config=sub_model.length_config or "full", layer_config=sub_model.layer_config, **kwargs
        )

    def _task_parts(self, full, inputs, targets) -> dict[str, torch.Tensor]:
        """What the full model learns of its task: from the labels, and from a teacher that answered before."""
        if not targets:
            return {"task": full.loss}
        heat, mask = self.args.teacher_temperature, _present(inputs)
        start, end = (
            target_divergence(logits, targets[name], mask, heat) for name, logits in zip(TARGETS, _spans(full), strict=True)
        )
        return {
            "task": self.args.hard_label_weight * full.loss,
            "prediction": self.args.prediction_weight * (start + end) / 2,
        }

    def _set_signature_columns_if_needed(self):
        """The parent drops columns that the model does not take; a teacher's answers stay."""
        super()._set_signature_columns_if_needed()
        self._signature_columns += [name for name in TARGETS if name not in self._signature_columns]

    def _divergence(self, sub, full, inputs, config) -> torch.Tensor:
        """In-place distillation: how far a sub-model is from the full one."""
        how = {"temperature": self.args.temperature, "direction": self.args.divergence_direction}
        if "logits" in full:
            return divergence(sub.logits, full.logits, **how)
        mask = _present(inputs)
        if config.dropped_logits == "mask" and sub.kept_tokens is not None:
            mask = mask & sub.kept_tokens
        start, end = (divergence(*logits, mask, **how) for logits in zip(_spans(sub), _spans(full), strict=True))
        return (start + end) / 2

    def _importance_loss(self, full, ran, scores, inputs, config) -> torch.Tensor:
        """Learned importance: scores, as (layer, scores) of each pass, against the tokens that matter to the full one.

        `ran` are the layers of the full pass.
        """
        present = _present(inputs)
        candidates = present & ~first_token(present) if config.keep_cls else present
        if config.protect_first_segment:
            segment = first_segment(present, inputs.get("token_type_ids"), inputs.get("input_ids"), config.sep_token_id)
            candidates = candidates & ~segment
        if "logits" in full:
            targets = dict(zip(ran, saliency(full.logits, full.hidden_states[1:]), strict=True))
        else:
            target = answer_distribution(*(logits.masked_fill(~present, -torch.inf) for logits in _spans(full)))
            targets = dict.fromkeys(range(config.num_hidden_layers), target)
        losses = [
            soft_cross_entropy(layer_scores, targets[layer], candidates & torch.isfinite(layer_scores))
            for run in scores
            for layer, layer_scores in run
            if layer in targets  # LayerDrop may have left it out of the full pass
        ]
        if not losses:  # LayerDrop left out all that may drop
            return full.loss.new_zeros(())
        return sum(losses) / len(losses)

    def _record(self, parts: dict[str, torch.Tensor]) -> None:
        for name, value in parts.items():
            self._parts[name] = self._parts.get(name, 0) + value.detach()
        self._passes += 1


def _present(inputs) -> torch.Tensor:
    """Real tokens of a batch, `(B, L)`."""
    if "attention_mask" in inputs:
        return inputs["attention_mask"].bool()
    tokens = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"][..., 0]
    return torch.ones_like(tokens, dtype=torch.bool)


def _spans(output) -> tuple[torch.Tensor, torch.Tensor]:
    return output.start_logits, output.end_logits
