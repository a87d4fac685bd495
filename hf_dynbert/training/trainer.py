# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The Trainer: one objective more than its parent."""

import inspect
import random
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..drop_and_restore import first_segment, first_token
from ..modeling_dynamic_tinybert import DynamicTinyBertPreTrainedModel, TokenScorer
from ..subnetwork import SubNetwork, dropping_layers
from .arguments import DistillationArguments
from .attention_capture import observe
from .layer_distillation import LayerDistillation, LayerTrace
from .length_drop import SubModel, sample_sandwich
from .losses import answer_distribution, divergence, saliency, soft_cross_entropy, target_divergence
from .record import write_record
from .teachers.predictions import INPUTS, LOGITS, PLACES, TARGETS, TYPES, at_full_length


PROJECTION = "projection.safetensors"
ANSWERS = (*TARGETS, LOGITS)  # what a teacher answered before
FEATURES = ("input_ids", "attention_mask", "token_type_ids")
ASKED = (INPUTS, TYPES, "teacher_attention_mask", PLACES)  # what it reads now


class DistillationTrainer(Trainer):
    """A [`~transformers.Trainer`] for length-adaptive models.

    Modifications: `compute_loss` adds LengthDrop with the sandwich rule and in-place distillation (arXiv 2010.07003,
    section 3.2), a teacher's answers where the features have them, the layers of a `teacher`, and the training of learned
    importance; `create_optimizer` gives the scorers their own learning rate and takes in the projection to the teacher's
    width, which `save_model` keeps in checkpoints alone; `log` adds each part of the objective by name. The samples of a
    step are drawn from the seed and the step's number alone, so a resumed run and an accumulated batch see the same.

    Args:
        model (`DynamicTinyBertForQuestionAnswering` or `DynamicTinyBertForSequenceClassification`): model to train.
        args (`DistillationArguments`): the objective, and what every Trainer takes.
        teacher (`PreTrainedModel`, *optional*): needed by the terms between layers. It reads `teacher_input_ids` where the
            features have them (see `teacher_inputs`), and the student's own tokens where not.
        about (`dict`, *optional*): for the model's card: `base_model`, `teacher` (both by name), `dataset` (a Hub id),
            `data` (in a person's words).
        kwargs: what every Trainer takes.

    Example:

    ```python
    >>> trainer = DistillationTrainer(model, DistillationArguments("outputs"), train_dataset=features)
    >>> trainer.train()
    ```
    """

    def __init__(
        self,
        model=None,
        args: DistillationArguments | None = None,
        teacher=None,
        about: dict | None = None,
        **kwargs,
    ):
        args = args or DistillationArguments()
        if not isinstance(args, DistillationArguments):
            raise TypeError(f"args is a {type(args).__name__}; give DistillationArguments, which take all that it takes.")
        super().__init__(model=model, args=args, **kwargs)
        self.about, self.resumed = about or {}, False
        self.teacher, self.layers = teacher, None
        if args.learns_layers:
            self._set_up_layers()
        if args.length_drop and args.budget_prob and not getattr(self.model.config, "length_configs", None):
            raise ValueError(
                f"budget_prob is {args.budget_prob}, but the model's config.budgets is empty. Give it budgets before "
                'training, for example model.config.budgets = {"half": [0.7, 0.6, ...]}, or set budget_prob=0.'
            )
        if args.length_drop and hasattr(self.model, "set_importance"):
            self.model.set_importance(args.importance)  # after the parent's seed: new scorers are the same in every run
        if self._projection:
            self.add_callback(ClearGradients(self._projection))
        self._check_importance_target()
        self._check_objective()
        self.model_accepts_loss_kwargs = False  # compute_loss returns a batch's mean, whatever the accumulation
        self._parts: dict[str, torch.Tensor] = {}
        self._passes = 0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean loss of a batch: the model's own in evaluation, the whole objective in training."""
        inputs = dict(inputs)
        targets = {name: inputs.pop(name) for name in ANSWERS if name in inputs}
        asked = {name: inputs.pop(name) for name in ASKED if name in inputs}
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        pass_through = self._sandwich if self.args.length_drop else self._one_pass
        full, parts = pass_through(model, inputs, targets, asked)
        self._record(parts)
        loss = sum(parts.values())
        if "loss" not in full:  # of layers alone: processes that train together wait for all that stands behind the outputs
            ends = (full.last_hidden_state, getattr(full, "pooler_output", None))
            loss = loss + 0.0 * sum(end.float().sum() for end in ends if end is not None)
        return (loss, full) if return_outputs else loss

    def _one_pass(self, model, inputs, targets, asked):
        """The model as it is, and the parts of its objective."""
        with self._student_views() as views:
            everything = at_full_length(self.accelerator.unwrap_model(model))
            full = model(**inputs, **everything, **({"output_hidden_states": True} if self.layers else {}))
        return full, self._task_parts(full, inputs, targets) | self._layer_parts(full, views, inputs, asked)

    def _sandwich(self, model, inputs, targets, asked):
        """The full model and sampled smaller ones that learn from it, and the parts of their objective."""
        config = self.accelerator.unwrap_model(model).config
        rng = random.Random(f"{self.args.seed}-{self.state.global_step}")
        passes = sample_sandwich(rng, config, self.args)
        learned = config.importance == "learned"
        watch = {"output_token_scores": learned, "output_hidden_states": learned and "start_positions" not in inputs}
        states = {"output_hidden_states": watch["output_hidden_states"] or self.layers is not None}
        features = {name: value for name, value in inputs.items() if name not in self.label_names}
        with self._student_views() as views:
            full = self._run(model, inputs, passes[0], **watch | states)
        subs = [self._run(model, features, sub_model, **watch) for sub_model in passes[1:]]
        weight = 1 / len(passes)
        own = self._task_parts(full, inputs, targets) | self._layer_parts(full, views, inputs, asked)
        parts = {name: weight * part for name, part in own.items()}
        for index, sub in enumerate(subs):
            name = "smallest" if index == 0 and self.args.always_smallest else "between"
            parts[name] = parts.get(name, 0) + weight * self._divergence(sub, full, inputs, config)
        if learned:
            ran = [sub_model.layer_config or range(config.num_hidden_layers) for sub_model in passes]
            layers = [[layer for layer in run if layer in dropping_layers(config)] for run in ran]
            outputs = [full, *subs]
            scores = [list(zip(*run, strict=True)) for run in zip(layers, (o.token_scores for o in outputs), strict=True)]
            loss = self._importance_loss(full, ran[0], scores, inputs, targets, config)
            parts["importance"] = self.args.importance_weight * loss
        return full, parts

    def create_optimizer(self, *args, **kwargs) -> torch.optim.Optimizer:
        """Moves the scorers into a group of their own, and adds the projection to a teacher's width."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        scorers = [p for module in self.model.modules() if isinstance(module, TokenScorer) for p in module.parameters()]
        if fresh and scorers:
            mine = {id(parameter) for parameter in scorers}
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in mine]
            optimizer.add_param_group({"params": scorers, "lr": self.args.importance_learning_rate, "weight_decay": 0.0})
        if fresh and self._projection:
            optimizer.add_param_group({"params": list(self._projection.parameters()), "weight_decay": 0.0})
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the objective, each a mean over the batches since the last time."""
        if "loss" in logs and self._passes:
            means = {name: value / self._passes for name, value in self._parts.items()}
            logs |= {f"loss_{name}": self.accelerator.reduce(mean, "mean").item() for name, mean in means.items()}
            self._parts, self._passes = {}, 0
        super().log(logs, start_time)

    @staticmethod
    def _run(model, inputs, sub_model: SubModel, **kwargs):
        return model(**inputs, budget=SubNetwork(sub_model.length_config, sub_model.layer_config), **kwargs)

    def _task_parts(self, full, inputs, targets) -> dict[str, torch.Tensor]:
        """What the full model learns of its task: from the labels, and from a teacher that answered before."""
        task, heat = {}, self.args.teacher_temperature
        if "loss" in full:  # plain text has no labels
            task["task"] = self.args.hard_label_weight * self._label_loss(full, inputs)
        if LOGITS in targets:
            return task | {"prediction": self.args.prediction_weight * _logit_loss(full.logits, targets[LOGITS], heat)}
        if not targets:
            return task
        mask = _present(inputs)
        start, end = (
            target_divergence(logits, targets[name], mask, heat) for name, logits in zip(TARGETS, _spans(full), strict=True)
        )
        return task | {"prediction": self.args.prediction_weight * (start + end) / 2}

    def _label_loss(self, full, inputs) -> torch.Tensor:
        """The model's own loss; that of spans without the padding, which transformers leaves in the softmax."""
        if "start_positions" not in inputs:
            return full.loss
        padding, width = ~_present(inputs), full.start_logits.shape[1]
        losses = [
            F.cross_entropy(
                logits.float().masked_fill(padding, torch.finfo(torch.float32).min),
                inputs[name].clamp(0, width),  # as transformers: beyond the window there is nothing to learn
                ignore_index=width,
            )
            for name, logits in zip(("start_positions", "end_positions"), _spans(full), strict=True)
        ]
        return sum(losses) / 2

    def _set_up_layers(self) -> None:
        """The teacher, ready to be asked, and the projection to its width."""
        if self.teacher is None:
            raise ValueError(
                "hidden_weight, embedding_weight, attention_weight and relation_weight compare layers with a teacher's; "
                "give it: DistillationTrainer(model, args, teacher=...), or set them to 0."
            )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"One process with {self.args.n_gpu} GPUs cannot compare layers: their copies of the model would be watched "
                "as one. Start a process for each: torchrun --nproc_per_node=gpu, or accelerate launch."
            )
        self.teacher = self.teacher.to(self.args.device).eval().requires_grad_(False)
        self.layers = LayerDistillation(self.model.config, self.teacher.config, self.args).to(self.args.device)
        for parameter in self.layers.parameters():
            parameter.register_post_accumulate_grad_hook(_average_over_processes)

    def _check_importance_target(self) -> None:
        """The teacher's answers must be there before any work starts, where learned importance is trained on them."""
        columns = getattr(self.train_dataset, "column_names", None)
        if self.args.learns_importance and columns and TARGETS[0] not in columns:
            raise ValueError(
                "importance_target='teacher' needs a teacher's start and end distributions beside the features: put the "
                "columns of teacher_predictions(...) there, or use importance_target='own'. For classification only 'own' "
                "is there."
            )

    def _check_objective(self) -> None:
        """Something must be learned, and by this class's loss."""
        args, columns = self.args, getattr(self.train_dataset, "column_names", None)
        answers = bool(args.prediction_weight) and (not columns or any(name in columns for name in ANSWERS))
        if not (args.length_drop or args.hard_label_weight or args.learns_layers or answers):
            raise ValueError(
                f"Nothing would be learned: hard_label_weight is 0, prediction_weight {args.prediction_weight} with no "
                "teacher's answers in the data. Put the columns of teacher_predictions(...) or teacher_logits(...) beside "
                "the features, or use hard_label_weight=1."
            )
        if args.label_smoothing_factor or self.compute_loss_func:
            raise ValueError(
                "label_smoothing_factor and compute_loss_func have no part in this objective, which has a loss of its own; "
                "leave them out, or use transformers' Trainer."
            )

    def _student_views(self):
        """Watches the student's attention, if any of it is compared."""
        return observe(self.accelerator.unwrap_model(self.model), self.layers.student_layers if self.layers else [])

    def _layer_parts(self, full, views, inputs, asked) -> dict[str, torch.Tensor]:
        """What the full model learns from the layers of a teacher that reads the same tokens now."""
        if self.layers is None:
            return {}
        mask = _present(inputs)
        if INPUTS in asked:
            features = {name.removeprefix("teacher_"): value for name, value in asked.items() if name != PLACES}
            mask = mask & (asked[PLACES] >= 0)
        else:
            known = inspect.signature(self.teacher.forward).parameters  # DistilBERT has no token types
            features = {name: value for name, value in inputs.items() if name in FEATURES and name in known}
            self._check_vocabulary()
        with torch.no_grad(), self.accelerator.autocast(), observe(self.teacher, self.layers.teacher_layers) as seen:
            states = self.teacher(**features, **at_full_length(self.teacher), output_hidden_states=True).hidden_states
        teacher = LayerTrace(states, seen)
        if PLACES in asked:
            teacher = teacher.take(asked[PLACES], self.layers.teacher_states)
        return self.layers(LayerTrace(full.hidden_states, views), teacher, mask)

    def _check_vocabulary(self) -> None:
        mine, theirs = self.model.config.vocab_size, self.teacher.config.vocab_size
        if mine != theirs:
            raise ValueError(
                f"The student knows {mine} tokens, the teacher {theirs}: they number them differently. Put the columns of "
                "teacher_inputs(teacher_tokenizer, tokenizer, data) beside the features, and use a DistillationCollator."
            )

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The model, its record and card; a checkpoint has the projection to the teacher's width beside it instead."""
        super().save_model(output_dir, _internal_call=_internal_call)
        of_checkpoint = output_dir is not None and Path(output_dir).name.startswith(PREFIX_CHECKPOINT_DIR)
        ours = isinstance(self.accelerator.unwrap_model(self.model), DynamicTinyBertPreTrainedModel)
        if ours and not of_checkpoint and self.is_world_process_zero():
            write_record(self, self.about, output_dir or self.args.output_dir, self.hub_model_id)
        if of_checkpoint and self._projection and self.args.should_save:
            save_file(self._projection.state_dict(), Path(output_dir) / PROJECTION)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """The card of a length-adaptive model says more than the parent's; see `write_card`."""
        if not isinstance(self.accelerator.unwrap_model(self.model), DynamicTinyBertPreTrainedModel):
            super().create_model_card(
                language, license, tags, model_name, finetuned_from, tasks, dataset_tags, dataset, dataset_args
            )
        elif self.is_world_process_zero():
            given = {
                "language": language,
                "license": license,
                "tags": tags,
                "base_model": finetuned_from,
                "dataset": dataset_tags,
                "data": ", ".join([dataset] if isinstance(dataset, str) else dataset or []),
            }
            about = self.about | {name: value for name, value in given.items() if value}
            write_record(self, about, self.args.output_dir, self.hub_model_id)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """With the code that those need who do not have this package, which the parent leaves behind."""
        if self.is_world_process_zero():
            for path in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(path, self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.resumed = True
        mine = self.model if model is None else model
        if not isinstance(mine, DynamicTinyBertPreTrainedModel):  # ours are written under the names that are read here
            saved = type(mine).from_pretrained(resume_from_checkpoint, dtype=mine.dtype)  # knows LayerNorm.gamma and its kin
            mine.load_state_dict(saved.state_dict())
        if self._projection:
            self._projection.load_state_dict(load_file(Path(resume_from_checkpoint) / PROJECTION))

    @property
    def _projection(self) -> torch.nn.Linear | None:
        return self.layers.projection if self.layers else None

    def _set_signature_columns_if_needed(self):
        """The parent drops columns that the model does not take; what concerns a teacher stays."""
        super()._set_signature_columns_if_needed()
        self._signature_columns += [n for n in (*ANSWERS, *ASKED) if n not in self._signature_columns]

    def _divergence(self, sub, full, inputs, config) -> torch.Tensor:
        """In-place distillation: how far a sub-model is from the full one.

        A dropped token that comes back with its last state may be an answer, so it takes part (arXiv 2010.07003, section
        3.2); where it cannot be one (`dropped_logits="mask"`), it does not. No other term ever sees a dropped token.
        """
        how = {"temperature": self.args.temperature, "direction": self.args.divergence_direction}
        if "logits" in full and full.logits.shape[-1] == 1:
            return F.mse_loss(sub.logits.float(), full.logits.detach().float())
        if "logits" in full:
            return divergence(sub.logits, full.logits, **how)
        mask = _present(inputs)
        if config.dropped_logits == "mask" and sub.kept_tokens is not None:
            mask = mask & sub.kept_tokens
        start, end = (divergence(*logits, mask, **how) for logits in zip(_spans(sub), _spans(full), strict=True))
        return (start + end) / 2

    def _importance_loss(self, full, ran, scores, inputs, answers, config) -> torch.Tensor:
        """Learned importance: scores, as (layer, scores) of each pass, against the tokens that matter to the full one, or
        to the teacher that gave `answers`. `ran` are the layers of the full pass.
        """
        present = _present(inputs)
        candidates = present & ~first_token(present) if config.keep_cls else present
        if config.protect_first_segment:
            segment = first_segment(present, inputs.get("token_type_ids"), inputs.get("input_ids"), config.sep_token_id)
            candidates = candidates & ~segment
        if "logits" in full:
            targets = dict(zip(ran, saliency(full.logits, full.hidden_states[1:]), strict=True))
        else:
            if self.args.importance_target == "teacher":
                target = sum(answers[name] for name in TARGETS) / 2
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


class ClearGradients(TrainerCallback):
    """Of a module that is trained beside the model: the parent clears the model's alone.

    Args:
        module (`nn.Module`): whose gradients go after every step, and after one that mixed precision leaves out.
    """

    def __init__(self, module: torch.nn.Module):
        self.module = module

    def on_optimizer_step(self, args, state, control, **kwargs):
        """Clears them."""
        self.module.zero_grad()


def _present(inputs) -> torch.Tensor:
    """Real tokens of a batch, `(B, L)`."""
    if "attention_mask" in inputs:
        return inputs["attention_mask"].bool()
    tokens = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"][..., 0]
    return torch.ones_like(tokens, dtype=torch.bool)


def _logit_loss(logits: torch.Tensor, target: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher ‖ student) of classes; of a real number, which has no distribution, the squared error."""
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.float(), target.float())
    return divergence(logits, target, temperature=temperature)


def _spans(output) -> tuple[torch.Tensor, torch.Tensor]:
    return output.start_logits, output.end_logits


def _average_over_processes(parameter: torch.nn.Parameter) -> None:
    """As DistributedDataParallel does with the model's gradients, which the projection is no part of."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= torch.distributed.get_world_size()
