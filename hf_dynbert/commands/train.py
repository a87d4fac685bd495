# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert train`: fine-tunes a model for all budgets."""

import textwrap

from ..recipes.arguments import DataArguments, ModelArguments
from ..utils.atomic_files import check_writable
from .checks import check_model
from .parsing import option_descriptions, option_fields


DESCRIPTION = "Fine-tune a checkpoint so that it answers at any budget, and resume where a killed run stopped."
EXAMPLE = "hf-dynbert train recipes/quala-minilm-squad/distil.yaml --train_file train-v1.1.json"
# Fields of DistillationArguments, whose import takes seconds
OBJECTIVE = """preset length_drop num_sandwich always_smallest budget_prob smallest_macs largest_macs layer_dropout_prob
temperature prediction_weight ranking_loss hard_label_weight teacher_temperature hidden_weight embedding_weight
attention_weight attention_target layer_map relation_weight relations relation_heads relation_layer importance
importance_target importance_weight importance_learning_rate float32_weights eval_budgets early_stopping_patience
overwrite_output_dir"""
# Options by subject, for the help. Those of no group are TrainingArguments of transformers.
GROUPS = {
    "model": tuple(option_fields([ModelArguments])),
    "data": tuple(option_fields([DataArguments])),
    "objective": tuple(OBJECTIVE.split()),
}
# The options that most runs set: the short help describes these, and lists the names of the others
FREQUENT = ("model_name_or_path", "task", "train_file", "dataset_name", "teacher_model_name_or_path")
TRAINING = {
    "output_dir": "Folder of the trained model; a killed run resumes from it.",
    "learning_rate": "Peak learning rate.",
    "num_train_epochs": "Passes over the data; or max_steps.",
    "per_device_train_batch_size": "Examples of a step.",
    "seed": "Seed of everything that is random.",
}


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options. Imports transformers, which takes seconds."""
    from ..training.arguments import DistillationArguments

    return (ModelArguments, DataArguments, DistillationArguments)


def short_help(prog: str) -> str:
    """The help without the descriptions of all options, which need the import of transformers."""
    lines = [f"usage: {prog} [RECIPE.yaml] --model_name_or_path ... --output_dir ... [--option value ...]"]
    lines += ["", DESCRIPTION, ""]
    described = option_descriptions([ModelArguments, DataArguments])
    for name, text in ({name: described[name] for name in FREQUENT} | TRAINING).items():
        lines += textwrap.wrap(f"  --{name:<28} {text}", 120, subsequent_indent=" " * 33)
    for title, names in GROUPS.items():
        text = textwrap.fill(" ".join(names), 116, break_long_words=False, break_on_hyphens=False)
        lines += ["", f"{title}:", textwrap.indent(text, "    ")]
    lines += ["", "--help-all describes all of them, and shows the options of transformers.TrainingArguments."]
    return "\n".join([*lines, "", f"example: {EXAMPLE}"])


def run(model_args: ModelArguments, data_args: DataArguments, args) -> None:
    """Trains, and saves the model."""
    check_writable(args.output_dir)
    check_model(model_args.model_name_or_path, "--model_name_or_path", weights=not model_args.config_overrides)
    if model_args.teacher_model_name_or_path:
        check_model(model_args.teacher_model_name_or_path, "--teacher_model_name_or_path")
    from ..recipes.run import run_recipe
    from ..training.trainer import end_together

    print(f"Saved in {run_recipe(model_args, data_args, args)}")
    end_together()
