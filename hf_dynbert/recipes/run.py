# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One recipe run: from a checkpoint and data to a trained model in a folder."""

import json
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, set_seed
from transformers.utils import logging

from ..backbones.convert import convert_config, describe_tokenizer
from ..hub.records import TRAINING, origin, remove_stale_records
from ..tasks import Task
from ..tasks.inference import check_lengths, check_max_length
from ..training.arguments import DistillationArguments
from ..training.layers import encoder_layers
from ..training.trainer import DistillationTrainer, scorer_parameters
from ..utils.atomic_files import replace_files
from ..utils.errors import one_line, reading, refuse_without_effect
from ..utils.task_arguments import check_task_options
from .arguments import DataArguments, ModelArguments
from .data import RecipeData, recipe_task, sources_of
from .run_record import begin_run, check_run, checkpoint_to_resume, finish_run, run_contents, run_settings


# Options that the card shows next to those of the trainer
REPEATED = ("max_length", "stride", "max_train_samples")
SHAPED = ("layers", "freeze_layers", "config_overrides")
# Options that are fields of the model's configuration
DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
OF_LENGTH_ADAPTIVE = """protect_first_segment protect_first_segment_until dropped_logits early_selection_until
importance_match importance_match_until importance_windows drop_layers min_tokens_to_drop""".split()
OF_TEACHERS = ("teacher_dtype", "teacher_class_names", "teacher_cache_dir", "teacher_temperature")

logger = logging.get_logger(__name__)


def run_recipe(model_args: ModelArguments, data_args: DataArguments, args: DistillationArguments) -> Path:
    """Trains a model and saves it with its tokenizer in `args.output_dir`.

    The folder records its run. The same run resumes from its last complete checkpoint, or does nothing if it has finished.
    Another run is refused, unless `args.overwrite_output_dir` is set.

    Args:
        model_args ([`ModelArguments`]): the starting checkpoint and the teacher.
        data_args ([`DataArguments`]): the data.
        args ([`DistillationArguments`]): the objective and the training.

    Returns:
        `Path`: the folder with the model.

    Raises:
        ValueError: bad data, an unsupported checkpoint, impossible budgets, options that do not go together, or a folder
            that another run made; before any training.
    """
    output = Path(args.output_dir)
    check_together(model_args, data_args, args)
    settings = run_settings(model_args, data_args, args)
    if not args.overwrite_output_dir:
        check_run(output, settings)
    config = None
    if not model_args.config_overrides:
        config = AutoConfig.from_pretrained(model_args.model_name_or_path, trust_remote_code=False)
    data = RecipeData(data_args, args, config)
    task = data.task
    if data_args.streaming:
        args.accelerator_config.dispatch_batches = False  # with several processes, each pads its own batches
    set_seed(args.seed)  # before the model: its new weights are random
    model = load_model(model_args, args, task, task.label_fields(data.training))
    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path, trust_remote_code=False)
    if model_args.length_adaptive:
        describe_tokenizer(model.config, tokenizer)
    teacher = None
    if model_args.teacher_model_name_or_path:
        teacher = load_teacher(model_args, args, task).to(args.device)
    if data_args.max_length:
        check_max_length(model.config, data_args.max_length, default=0)
    contents = run_contents(model, tokenizer, {"training": data.training, "validation": data.validation}, teacher)
    if not args.overwrite_output_dir and check_run(output, settings, contents):
        logger.warning(f"{output} holds the finished model of this run; nothing is trained.")
        return output
    features = data.features(tokenizer)
    if not data_args.streaming:
        check_lengths(model.config, features["length"])
    if teacher is not None:
        features = data.with_teacher(features, teacher, model_args.teacher_model_name_or_path, tokenizer, model)
    if args.ranking_loss is not None:
        features = task.group(features, data_args.group_size, args.seed)
    trainer = DistillationTrainer(
        model,
        args,
        teacher=teacher if args.learns_layers else None,
        train_dataset=features,
        eval_dataset=data.validation_features(tokenizer),
        processing_class=tokenizer,
        about=_about(model_args, data_args, task),
    )
    with args.main_process_first(local=False, desc="run record"):
        begin_run(output, settings, contents, args.overwrite_output_dir and args.process_index == 0)
    checkpoint = None if args.overwrite_output_dir else checkpoint_to_resume(output, args.resume_from_checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.is_world_process_zero():
        with replace_files(output) as folder:
            trainer.save_model(str(folder), _internal_call=True)  # a public call would push this temporary folder
            extra = task.write_extra_files(folder, model.config)
        remove_stale_records(output, keep=[TRAINING, "model.safetensors", *extra])
        trainer.create_model_card()
        finish_run(output)
    trainer.accelerator.wait_for_everyone()
    if args.push_to_hub:
        trainer.push_to_hub()
    return output


def load_model(model_args: ModelArguments, args: DistillationArguments, task: Task, fields: dict) -> PreTrainedModel:
    """The model that a recipe starts from, converted if it has another supported architecture."""
    source = model_args.model_name_or_path
    overrides = {name: getattr(model_args, name) for name in DROPOUT}
    if model_args.length_adaptive:
        overrides |= {name: getattr(model_args, name) for name in OF_LENGTH_ADAPTIVE}
        overrides["importance"] = args.importance
        overrides["budgets"] = json.loads(model_args.budgets) if model_args.budgets else None
        known = hasattr(AutoConfig.from_pretrained(source, trust_remote_code=False), "min_tokens_to_drop")
        if overrides["min_tokens_to_drop"] is None and not known:
            overrides["min_tokens_to_drop"] = task.min_tokens_to_drop
    overrides = {name: value for name, value in overrides.items() if value is not None} | fields
    if model_args.config_overrides:
        model = _from_nothing(source, overrides | json.loads(model_args.config_overrides), model_args, task)
    elif not model_args.length_adaptive:
        model = task.auto_class.from_pretrained(source, dtype="float32", trust_remote_code=False, **overrides)
    elif model_args.layers is None and _is_ours(source, task):
        model = task.model_class.from_pretrained(source, dtype="float32", **overrides)
    else:
        model = task.model_class.from_backbone(source, layers=model_args.layers, **overrides).float()
    if task.has_answers:
        model.config.task = task.name
    freeze_lowest(model, model_args.freeze_layers)
    if model_args.attn_implementation:
        try:
            model.set_attn_implementation(model_args.attn_implementation)
        except (ValueError, ImportError) as error:
            raise ValueError(f"attn_implementation is {model_args.attn_implementation!r}: {one_line(error)}") from error
    return model


def freeze_lowest(model: PreTrainedModel, layers: int) -> None:
    """Freezes the embeddings and the lowest layers, so that no gradient is computed for them."""
    if not 0 <= layers < model.config.num_hidden_layers:
        raise ValueError(f"freeze_layers={layers}, but the model has {model.config.num_hidden_layers} layers; freeze fewer.")
    if not layers:
        return
    frozen = [model.get_input_embeddings(), *encoder_layers(model)[:layers]]
    for name, module in model.base_model.named_modules():
        if name in ("embeddings", "encoder.relative_attention_bias"):  # MPNet's encoder has one position bias for all layers
            frozen.append(module)
    for module in frozen:
        module.requires_grad_(False)
    for parameter in scorer_parameters(model):  # scorers may be new
        parameter.requires_grad_(True)


def load_teacher(model_args: ModelArguments, args: DistillationArguments, task: Task) -> PreTrainedModel:
    """Loads the teacher and names its labels."""
    source = model_args.teacher_model_name_or_path
    teacher, found = task.auto_class.from_pretrained(
        source, dtype=model_args.teacher_dtype, output_loading_info=True, trust_remote_code=False
    )
    if task.has_answers and args.learns_answers and found["missing_keys"]:
        raise ValueError(
            f"{source} was not fine-tuned for {task.name}: {', '.join(sorted(found['missing_keys']))} would be random. "
            "Fine-tune it first (recipes/teachers), or set prediction_weight to 0 and learn from its layers alone."
        )
    names = model_args.teacher_class_names
    if names:
        labels = teacher.config.num_labels
        if len(names) != labels:
            raise ValueError(f"teacher_class_names has {len(names)} names; the teacher has {labels} labels.")
        teacher.config.id2label = dict(enumerate(names))
    return teacher


def _about(model_args: ModelArguments, data_args: DataArguments, task: Task) -> dict:
    """For the model card: names of data and models, without local paths."""
    sources = data_args.train_file or [data_args.dataset_name or task.default_dataset]
    names = [_name(source) for source in sources if source]
    dataset = names[0] if names and not Path(sources[0]).exists() else None
    data, fraction = ", ".join(names), data_args.validation_fraction
    if fraction:
        data += f", without {100 * fraction:g} % {task.unit}"
    start = {"started_from": "random weights"} if model_args.config_overrides else origin(model_args.model_name_or_path)
    options = {name: getattr(data_args, name) for name in REPEATED} | {name: getattr(model_args, name) for name in SHAPED}
    return start | {
        "teacher": _name(model_args.teacher_model_name_or_path),
        "dataset": dataset,
        "data": data,
        "validation_fraction": fraction,
        "options": {name: value for name, value in options.items() if value},
    }


def _name(source: str | None) -> str | None:
    return Path(source).resolve().name if source and Path(source).exists() else source


def _is_ours(source: str, task: Task) -> bool:
    """Whether `from_pretrained` of the length-adaptive model takes the source."""
    return AutoConfig.from_pretrained(source, trust_remote_code=False).model_type in (
        "bert",
        task.model_class.config_class.model_type,
    )


def _from_nothing(source: str, overrides: dict, model_args: ModelArguments, task: Task) -> PreTrainedModel:
    """A model with random weights: the source's configuration, changed."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    if model_args.length_adaptive:
        return task.model_class(convert_config(task.model_class.config_class, config, **overrides))
    with reading(f"--config_overrides {model_args.config_overrides}"):
        return task.auto_class.from_config(type(config).from_dict(config.to_dict() | overrides))


def check_together(model_args: ModelArguments, data_args: DataArguments, args: DistillationArguments) -> None:
    """Refuses options that do not go together, and options without effect."""
    teacher, task = model_args.teacher_model_name_or_path, recipe_task(data_args)
    for arguments in (data_args, model_args):
        check_task_options(arguments, task, sources_of(data_args, task))
    if data_args.train_file:
        refuse_without_effect(data_args, ["dataset_name"], "next to train_file")
    for arguments in (data_args, model_args, args) if not teacher else ():
        refuse_without_effect(arguments, OF_TEACHERS, "without teacher_model_name_or_path")
    if args.ranking_loss is None:
        refuse_without_effect(data_args, ["group_size"], "without ranking_loss")
    if not model_args.length_adaptive:
        refuse_without_effect(model_args, [*OF_LENGTH_ADAPTIVE, "budgets"], "with length_adaptive=False")
        refuse_without_effect(args, ["importance"], "with length_adaptive=False")
    if args.eval_strategy == "no":
        refuse_without_effect(args, ["eval_budgets"], "without eval_strategy")
    if args.length_drop and not model_args.length_adaptive:
        raise ValueError(
            "length_drop=True trains token dropping, which length_adaptive=False cannot; use length_drop=False."
        )
    if model_args.layers is not None and (model_args.config_overrides or not model_args.length_adaptive):
        raise ValueError(
            "layers takes layers of a checkpoint into a length-adaptive model; use it without config_overrides and with "
            "length_adaptive=True."
        )
    if args.ranking_loss is not None and (data_args.task != "reranking" or args.learns_layers):
        raise ValueError(
            f"ranking_loss={args.ranking_loss} is for task reranking, without terms between layers; leave it out."
        )
    if args.learns_layers and not teacher:
        raise ValueError(
            "hidden_weight, embedding_weight, attention_weight and relation_weight compare layers with a teacher's; give "
            "teacher_model_name_or_path."
        )
    if args.learns_layers and model_args.teacher_dtype != "float32":
        raise ValueError(
            "teacher_dtype is for a teacher's answers; where its layers are learned too, leave it out and use bf16: true."
        )
    target_from_teacher = args.length_drop and args.importance_target == "teacher"
    if target_from_teacher and not (teacher and data_args.task == "question-answering"):
        raise ValueError(
            "importance_target='teacher' needs teacher_model_name_or_path and task question-answering; use "
            "importance_target='own'."
        )
    if args.eval_strategy != "no" and not (data_args.eval_file or data_args.validation_fraction):
        raise ValueError(
            f"eval_strategy={args.eval_strategy.value} needs data to measure on; give eval_file, or validation_fraction=0.1 "
            "for a validation split, or leave eval_strategy out."
        )
    if not args.remove_unused_columns:
        raise ValueError("remove_unused_columns=False passes columns to the model that it does not take; leave it out.")
    if args.eval_on_start and args.eval_strategy == "no":
        raise ValueError("eval_on_start=True needs data to measure on; give eval_strategy=epoch and eval_file too.")
    if args.eval_strategy == "no" and data_args.eval_file:
        raise ValueError(
            "eval_file is measured during training; give eval_strategy=epoch (or steps) too, or leave eval_file out."
        )
    if data_args.task == "plain-text" and (args.length_drop or not args.learns_layers):
        raise ValueError(
            "plain text has no labels and no answers, so only a teacher's layers can be learned. Use length_drop=False "
            "and some of hidden_weight, embedding_weight, attention_weight and relation_weight."
        )
