# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert train`: fine-tunes a model for all budgets."""

from ..recipes.arguments import DataArguments, ModelArguments
from ..utils.atomic_files import check_writable
from .checks import check_model


DESCRIPTION = "Fine-tune a checkpoint so that it answers at any budget, and resume where a killed run stopped."
EXAMPLE = "hf-dynbert train recipes/quala-minilm-squad/distil.yaml --train_file train-v1.1.json"
# Options by subject, for the help. Those of no group are TrainingArguments of transformers.
GROUPS = {
    "model": (
        "model_name_or_path",
        "layers",
        "freeze_layers",
        "config_overrides",
        "length_adaptive",
        "protect_first_segment",
        "protect_first_segment_until",
        "dropped_logits",
        "drop_layers",
        "budgets",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "attn_implementation",
    ),
    "data": tuple(DataArguments.__dataclass_fields__),
    "teacher": ("teacher_model_name_or_path", "teacher_dtype", "teacher_class_names"),
    "run": ("overwrite_output_dir", "float32_weights", "eval_budgets", "early_stopping_patience"),
    "objective": (
        "preset",
        "length_drop",
        "num_sandwich",
        "always_smallest",
        "budget_prob",
        "smallest_macs",
        "largest_macs",
        "layer_dropout_prob",
        "temperature",
        "prediction_weight",
        "hard_label_weight",
        "teacher_temperature",
        "hidden_weight",
        "embedding_weight",
        "attention_weight",
        "attention_target",
        "layer_map",
        "relation_weight",
        "relations",
        "relation_heads",
        "relation_layer",
    ),
    "importance": (
        "importance",
        "early_selection_until",
        "importance_match",
        "importance_match_until",
        "importance_windows",
        "importance_target",
        "importance_weight",
        "importance_learning_rate",
    ),
}
# The options that most runs set, described in the short help: all else is a name there
FREQUENT = {
    "model_name_or_path": "Folder or Hub id to start from (required).",
    "output_dir": "Folder of the trained model; a killed run resumes from it.",
    "task": "question-answering, text-classification or plain-text.",
    "train_file": "Files to train on: SQuAD, or JSON, JSON lines, CSV and text files.",
    "dataset_name": "Data set on the Hub, when there is no train_file.",
    "budgets": 'Named length configurations as JSON: {"half": [0.8, 0.6, 0.4]}.',
    "teacher_model_name_or_path": "Folder or Hub id of a teacher to learn from.",
    "learning_rate": "Peak learning rate.",
    "num_train_epochs": "Passes over the data; or max_steps.",
    "per_device_train_batch_size": "Examples of a step.",
    "seed": "Seed of everything that is random.",
}


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options. Imports transformers, which takes seconds."""
    from ..training.arguments import DistillationArguments

    return (ModelArguments, DataArguments, DistillationArguments)


def short_help(prog: str, width: int) -> str:
    """The help without the descriptions of all options, which need the import of transformers."""
    import textwrap

    lines = [
        f"usage: {prog} [RECIPE.yaml] --model_name_or_path ... --output_dir ... [--option value ...]",
        "",
        DESCRIPTION,
        "",
    ]
    lines += [f"  --{name:<30} {text}" for name, text in FREQUENT.items()]
    for title, names in GROUPS.items():
        text = textwrap.fill(" ".join(names), width - 4, break_long_words=False, break_on_hyphens=False)
        lines += ["", f"{title}:", textwrap.indent(text, "    ")]
    lines += ["", "--help-all describes all of them, and shows the options of transformers.TrainingArguments."]
    return "\n".join([*lines, "", f"example: {EXAMPLE}"])


def run(model_args: ModelArguments, data_args: DataArguments, args) -> None:
    """Trains, and saves the model."""
    check_writable(args.output_dir)
    check_model(model_args.model_name_or_path, "--model_name_or_path", weights=not model_args.config_overrides)
    if model_args.teacher_model_name_or_path:
        check_model(model_args.teacher_model_name_or_path, "--teacher_model_name_or_path")
    if data_args.augmentation_model_name_or_path:
        check_model(data_args.augmentation_model_name_or_path, "--augmentation_model_name_or_path")
    from ..recipes.run import run_recipe
    from ..training.trainer import end_together

    print(f"Saved in {run_recipe(model_args, data_args, args)}")
    end_together()
