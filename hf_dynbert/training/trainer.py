# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The Trainer of length-adaptive models: it builds the objective and calls it."""

import gc
import shutil
import time
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer_callback import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..modeling_dynamic_tinybert import DynamicTinyBertPreTrainedModel
from ..subnetwork import FULL
from .arguments import DistillationArguments
from .batches import ANSWERS, INPUTS, TEACHER_INPUTS, DistillationCollator
from .objective import Objective
from .record import write_record
from .teachers import label_order
from .terms import build_terms, head_of, label_loss


EXTRA_STATE = "objective.safetensors"  # in checkpoints: what is trained in addition to the student
MEASURED_STEPS = 3  # steps that the time estimate averages

logger = logging.get_logger(__name__)


class DistillationTrainer(Trainer):
    """A [`~transformers.Trainer`] for length-adaptive models.

    The loss of training is an [`Objective`]: LengthDrop with in-place distillation (arXiv 2010.07003, section 3.2), labels,
    a teacher's answers and its layers. `evaluate` measures at `eval_budgets` too. The sub-networks of a step depend only
    on the seed and the step's number, so a resumed run trains the same ones, as do accumulated batches. `train` prepares the
    model (importance, float32); constructing a trainer and `evaluate` change nothing.

    Args:
        model (`DynamicTinyBertForQuestionAnswering` or `DynamicTinyBertForSequenceClassification`): model to train.
        args ([`DistillationArguments`]): the objective, and the arguments of every Trainer.
        data_collator, and all further arguments of [`~transformers.Trainer`], in its order. The default collator is
            [`DistillationCollator`], if `processing_class` is a tokenizer.
        teacher (`PreTrainedModel`, *optional*, keyword only): a fine-tuned model for the same task. The student learns its
            answers, unless the features already have them, and its layers, by the weights in the arguments. It reads
            `teacher_input_ids` where the features have them (see `teacher_inputs`), else the student's tokens, which it must
            number as the student does.
        extra_terms (`list[Term]`, *optional*, keyword only): further terms of the objective.
        about (`dict`, *optional*, keyword only): for the model card: `base_model`, `teacher` (both by name), `dataset` (a
            Hub id), `data` (free text).

    Raises:
        ValueError: model, arguments, data and teacher do not fit together; raised before any work.
    """

    def __init__(
        self, model=None, args=None, data_collator=None, *trainer_args, teacher=None, extra_terms=(), about=None, **kwargs
    ):
        args = args or DistillationArguments()
        if not isinstance(args, DistillationArguments):
            raise TypeError(f"args is a {type(args).__name__}; give DistillationArguments, which has all of its fields.")
        self.objective: Objective | None = None
        self.teacher, self.extra_terms = teacher, list(extra_terms)
        self.about, self.resumed = about or {}, False
        self._losses, self._batches = {}, 0  # sums of each term's loss since the last log
        self._budget: str | None = None  # of the evaluation that runs
        super().__init__(model, args, data_collator, *trainer_args, **kwargs)
        if data_collator is None and isinstance(self.processing_class, PreTrainedTokenizerBase):
            self.data_collator = DistillationCollator(self.processing_class)
        self._check_model()
        self._check_teacher()
        self.model_accepts_loss_kwargs = False  # the loss is a mean over the batch, whatever the accumulation
        self.add_callback(TimeEstimate())
        if args.early_stopping_patience:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The objective in training; in evaluation the task's own loss, which does not depend on padding."""
        if not model.training:
            inputs = self._model_inputs(inputs)
            _, outputs = super().compute_loss(model, inputs, return_outputs=True)
            loss = label_loss(outputs, inputs)
            return (loss, outputs) if return_outputs else loss
        if model is self.model:  # called outside of `train`
            self._prepare_objective()
            model = self.objective
        outputs = model(dict(inputs), self.state.global_step)
        loss = outputs.pop("loss")
        for name, value in outputs.items():
            self._losses[name] = self._losses.get(name, 0) + value
        self._batches += 1
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """Trains the whole objective, and the scorers of learned importance in a group of their own."""
        self._prepare_objective()
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(self.objective)
        parameters = [parameter for parameter in scorer_parameters(self.objective.student) if parameter.requires_grad]
        if fresh and parameters:
            moved = set(parameters)
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if parameter not in moved]
            learning_rate = self.args.importance_learning_rate
            optimizer.add_param_group({"params": parameters, "lr": learning_rate, "weight_decay": 0.0})
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the loss of each term, a mean over the batches since the last log, without its weight."""
        if "loss" in logs and self._batches:
            for name, total in self._losses.items():
                logs[f"loss_{name}"] = self.accelerator.reduce(total / self._batches, "mean").item()
            self._losses, self._batches = {}, 0
        super().log(logs, start_time)

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """Evaluates at the model's default budget and, with `eval_budgets`, at each of them."""
        options = (prediction_loss_only, ignore_keys)
        output = super().evaluation_loop(dataloader, description, *options, metric_key_prefix)
        for budget in (self.args.eval_budgets or []) if description == "Evaluation" else []:
            self._budget, prefix = budget, f"{metric_key_prefix}_{budget}"
            try:
                metrics = super().evaluation_loop(dataloader, description, *options, prefix).metrics
            finally:
                self._budget = None
            output.metrics.update(metrics)
        return output

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Removes the columns of the objective and sets the budget of this evaluation."""
        inputs = self._model_inputs(inputs)
        if self._budget is not None:
            inputs["budget"] = self._budget
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys=ignore_keys)

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True):
        """Mixed precision for evaluation too, which calls the student; accelerate wraps only the objective."""
        return self.accelerator.autocast()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model with its record and card; in a checkpoint, with `EXTRA_STATE` instead."""
        super().save_model(output_dir, _internal_call=_internal_call)
        in_checkpoint = output_dir is not None and Path(output_dir).name.startswith(PREFIX_CHECKPOINT_DIR)
        if not in_checkpoint and self._is_length_adaptive and self.is_world_process_zero():
            write_record(self, self.about, output_dir or self.args.output_dir, self.hub_model_id)
        extra = self.objective.extra_state() if self.objective is not None else {}
        if in_checkpoint and extra and self.args.should_save:
            save_file(extra, Path(output_dir) / EXTRA_STATE)

    def create_model_card(self, language=None, license=None, tags=None, **kwargs) -> None:
        """Writes the card of a length-adaptive model, see `write_card`; of another model the parent's."""
        if not self._is_length_adaptive:
            super().create_model_card(language, license, tags, **kwargs)
        elif self.is_world_process_zero():
            given = {"language": language, "license": license, "tags": tags}
            given |= {"base_model": kwargs.get("finetuned_from"), "dataset": kwargs.get("dataset_tags")}
            data = kwargs.get("dataset") or []
            given["data"] = data if isinstance(data, str) else ", ".join(data)
            about = self.about | {name: value for name, value in given.items() if value}
            write_record(self, about, self.args.output_dir, self.hub_model_id)

    def _hp_search_setup(self, trial) -> None:
        """`train` calls this once its model and arguments are final and before it loads a checkpoint."""
        super()._hp_search_setup(trial)
        self._prepare_objective()

    def _wrap_model(self, model, training: bool = True, dataloader=None):
        """Prepares the objective in place of the model, so that DistributedDataParallel sees one forward a step."""
        if not training:
            return super()._wrap_model(model, training, dataloader)
        if self.accelerator.unwrap_model(self.model_wrapped) is self.objective:  # `train` was called before
            return self.model_wrapped
        return self.accelerator.prepare_model(self.objective)

    def _prepare_objective(self) -> None:
        """Prepares the model that `train` will train, and the objective around it."""
        args, model, teacher = self.args, self.model, self.teacher
        if self.objective is not None and self.objective.student is model:
            return
        if args.n_gpu > 1:
            raise ValueError(
                f"Each of {args.n_gpu} GPUs needs a process: torchrun --nproc_per_node=gpu; or set CUDA_VISIBLE_DEVICES=0."
            )
        for each in (model, teacher) if args.float32_weights else ():
            if each is not None and {parameter.dtype for parameter in each.parameters()} & {torch.float16, torch.bfloat16}:
                logger.warning(
                    f"The weights of {type(each).__name__} are stored in 16 bits; training uses float32. "
                    "float32_weights=False keeps their type."
                )
                each.float()
        if getattr(model.config, "gradient_checkpointing", False):
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if teacher is not None:
            teacher.to(args.device)
        with torch.random.fork_rng():  # new parameters are the same in every run, and change no other random number
            torch.manual_seed(args.seed)
            if args.length_drop and args.importance not in (None, model.config.importance):
                model.set_importance(args.importance)
            objective = Objective(model, args, teacher, self.label_names, self.extra_terms)
        self.objective = objective.to(args.device)

    def _check_model(self) -> None:
        """Refuses a model that cannot drop tokens, budgets that it does not have, and losses that would not be used."""
        args, model = self.args, self.model
        if self.compute_loss_func:
            raise ValueError(
                "compute_loss_func does not apply to this objective; leave it out, or use transformers' Trainer."
            )
        if not self._is_length_adaptive:
            if args.length_drop or args.eval_budgets:
                raise ValueError(
                    f"The model is a {type(model).__name__}, which cannot drop tokens. Convert it: model = "
                    "DynamicTinyBertForQuestionAnswering.from_backbone(model), or DynamicTinyBertForSequenceClassification; "
                    "or train it as it is: DistillationArguments(length_drop=False, eval_budgets=None)."
                )
            return
        if args.length_drop and args.budget_prob and not set(model.config.budgets or {}) - {FULL}:
            raise ValueError(
                f"budget_prob is {args.budget_prob}, but the model's config.budgets is empty. Set it before training, for "
                'example model.config.budgets = {"half": [0.7, 0.6, ...]}, or use budget_prob=0.'
            )
        for budget in args.eval_budgets or []:
            model.config.resolve_budget(budget)

    def _check_teacher(self) -> None:
        """Refuses a teacher that is missing, not used, or does not fit the student."""
        args, teacher, head = self.args, self.teacher, head_of(self.model)
        build_terms(args, self.model, teacher)  # refuses layers that cannot be compared
        if teacher is None:
            return
        columns = set(getattr(self.train_dataset, "column_names", None) or [])  # a stream may have none
        if not (args.learns_layers or args.learns_answers):
            raise ValueError("A teacher is given, but nothing is learned from it; use prediction_weight=1, or leave it out.")
        if head is not None and args.learns_answers and not columns & {*ANSWERS}:
            if isinstance(teacher, PreTrainedModel) and head_of(teacher) != head:
                raise ValueError(
                    f"The teacher is a {type(teacher).__name__}, which has no answers for this task. Use a model that was "
                    "fine-tuned for it, or prediction_weight=0 to learn from its layers alone."
                )
            if head == "classes":
                label_order(self.model.config.id2label, teacher.config.id2label)  # refuses other labels
        if INPUTS not in columns and not self._teacher_reads_same_tokens():
            raise ValueError(
                "The teacher would read the student's tokens, but its tokenizer numbers tokens differently. Put the columns "
                "of teacher_inputs(...) next to the features, or those of teacher_predictions(...) alone."
            )

    def _teacher_reads_same_tokens(self) -> bool:
        """Whether the teacher numbers tokens as the student does; by size alone if its tokenizer is not on this machine."""
        if self.model.config.vocab_size != self.teacher.config.vocab_size:
            return False
        source, tokenizer = self.teacher.name_or_path, self.processing_class
        try:
            teacher_tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        except (ImportError, OSError, ValueError):
            return True
        tokens = tokenizer.get_vocab() if isinstance(tokenizer, PreTrainedTokenizerBase) else {}
        return tokens.items() <= teacher_tokenizer.get_vocab().items()

    @property
    def _is_length_adaptive(self) -> bool:
        return isinstance(self.accelerator.unwrap_model(self.model), DynamicTinyBertPreTrainedModel)

    @property
    def _objective_columns(self) -> list[str]:
        """Columns that the objective reads and the model does not take."""
        return [*ANSWERS, *TEACHER_INPUTS, *(column for term in self.extra_terms for column in term.columns)]

    def _model_inputs(self, inputs: dict) -> dict:
        return {name: value for name, value in inputs.items() if name not in self._objective_columns}

    def _set_signature_columns_if_needed(self) -> None:
        """Keeps the columns of the objective, which the parent would drop."""
        super()._set_signature_columns_if_needed()
        self._signature_columns += [name for name in self._objective_columns if name not in self._signature_columns]

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Pushes the model's code too, which loads the model where this package is not installed."""
        if self.is_world_process_zero():
            for path in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(path, self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.resumed = True
        student = self.model if model is None else model
        if not isinstance(student, DynamicTinyBertPreTrainedModel):  # the parent does not read names such as LayerNorm.gamma
            saved = type(student).from_pretrained(resume_from_checkpoint, dtype=student.dtype)
            student.load_state_dict(saved.state_dict())
        if self.objective is not None and self.objective.extra_state():
            extra = load_file(Path(resume_from_checkpoint) / EXTRA_STATE)
            self.objective.load_state_dict(self.objective.state_dict() | extra)


class TimeEstimate(TrainerCallback):
    """Logs once how long the training will take. The first step, which fills the caches, is not measured."""

    steps, begin = 0, 0.0

    def on_step_end(self, args, state, control, **kwargs):
        """Starts the clock after the first step, and logs after `MEASURED_STEPS` more."""
        self.steps += 1
        remaining = state.max_steps - state.global_step
        if self.steps == 1:
            self.begin = time.perf_counter()
        elif self.steps == 1 + MEASURED_STEPS and remaining > 0 and state.is_world_process_zero:
            seconds = (time.perf_counter() - self.begin) / MEASURED_STEPS
            minutes = seconds * remaining / 60
            logger.warning(f"{seconds:.2g} s per step: about {minutes:.2g} minutes for the next {remaining} steps.")


def end_together(trainer: Trainer | None = None) -> None:
    """Ends the process group, as the last call of a script that several processes run. A single process does nothing.

    Without this call a launch may fail at its very end: a process may exit while another process or a thread of Gloo still
    communicates. The group can end only after the wrapped model is freed.

    Args:
        trainer (`Trainer`, *optional*): a trainer that the script still holds. It can save afterwards, but not train.
    """
    state = PartialState()
    if state.num_processes == 1:
        return
    state.wait_for_everyone()
    if trainer is not None:
        trainer.model_wrapped = trainer.model
        trainer.accelerator.free_memory()
    gc.collect()  # a trainer and its wrapped model refer to each other
    state.destroy_process_group()


def scorer_parameters(model) -> list[torch.nn.Parameter]:
    """The parameters of learned importance; an empty list if the model has none."""
    return [parameter for name, parameter in model.named_parameters() if ".token_scorer." in name]
