# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert search`."""

from dataclasses import dataclass, field

from ...utils.defaults import STRIDE
from ..budget import MAX_LOSS


METHODS = ("grid", "tpe", "nsga2")  # as in optuna_search.py, which needs an extra
COSTS = ("latency", "macs")
COUNTS = ("search_samples", "confirm_samples", "training_samples", "num_evaluations", "latency_samples", "batch_size")


@dataclass
class SearchArguments:
    """A search for the budgets of a model.

    Args:
        model (`str`): folder or Hub id: PyTorch, or OpenVINO. Search in the runtime that will serve.
        output_dir (`str`): folder for the evaluations (`search.journal`, from which the search resumes and which several
            processes share) and for the results: `front.json`, `front.png`, `front.md`.
        save_to (`list[str]`): model folders whose `config.json` receives the budgets; `model` by default.
        train_file, dataset_name: data that the model was trained on, without its validation split.
        task, text_columns, label_column: see [`~hf_dynbert.tasks.DataOptions`].
        validation_fraction (`float`): share of the data in the validation split. Training must have had the same value.
        search_samples (`int`): examples of the validation split that score a configuration during the search.
        confirm_samples (`int`): further examples of the validation split, which score the results once more: the best of
            many on one sample may look good by chance.
        training_samples (`int`): examples of the training split. The validation split is small; a named budget must also
            pass here, with 95 % confidence, counted in points of the metric.
        max_loss (`float`): largest share of full length's score that a saved budget may have lost.
        eval_file (`list[str]`): test examples. The results are scored on them once, at the end; nothing is chosen by it.
        eval_samples (`int`): number of test examples, spread over the data.
        method, num_evaluations, seed: see `search_length_configs`.
        cost (`str`): what the search lowers: `latency`, measured next to full length at batch 1 on real examples, or `macs`.
        latency_samples (`int`): examples that are timed, spread over the lengths.
        length_configs (`list[str]`): further length configurations to measure, such as published ones:
            `269,253,252,202,104,34`.
        baselines (`list[str]`): other models to measure next to the results: folders or Hub ids, plain models too. A
            length-adaptive model may have a budget: `FOLDER@315,251,242,159,142,33`.
        batch_size, max_length, stride (`int`): see [`~hf_dynbert.tasks.Evaluator`] and [`~hf_dynbert.tasks.DataOptions`].
        threads (`int`): threads of the runtime; all cores by default.
    """

    model: str = field(metadata={"help": "Folder or Hub id of the model."})
    output_dir: str = field(metadata={"help": "Folder for the evaluations and the results."})
    save_to: list[str] | None = field(default=None, metadata={"help": "Model folders that receive the budgets."})
    train_file: list[str] | None = field(default=None, metadata={"help": "Files that the model was trained on."})
    dataset_name: str | None = field(default=None, metadata={"help": "Data set on the Hub; the task's by default."})
    task: str | None = field(default=None, metadata={"help": "Task of the model; that of its head by default."})
    text_columns: list[str] = field(default_factory=lambda: ["text"], metadata={"help": "Columns of texts to classify."})
    label_column: str = field(default="label", metadata={"help": "Column of their labels."})
    validation_fraction: float = field(default=0.1, metadata={"help": "Share of the data that training left out."})
    search_samples: int = field(default=800, metadata={"help": "Validation examples that score a configuration."})
    confirm_samples: int = field(default=2000, metadata={"help": "Further validation examples that score the results."})
    training_samples: int = field(default=4000, metadata={"help": "Training examples on which a name must hold too."})
    max_loss: float = field(default=MAX_LOSS, metadata={"help": "Largest lost share of full length's score."})
    eval_file: list[str] | None = field(default=None, metadata={"help": "Test files, for the results, once."})
    eval_samples: int | None = field(default=None, metadata={"help": "Number of test examples."})
    method: str | None = field(
        default=None, metadata={"help": "Search method: grid for two drops, else tpe.", "choices": list(METHODS)}
    )
    num_evaluations: int = field(default=144, metadata={"help": "Configurations to evaluate."})
    cost: str = field(default="latency", metadata={"help": "What the search lowers.", "choices": list(COSTS)})
    latency_samples: int = field(default=8, metadata={"help": "Examples that are timed."})
    length_configs: list[str] = field(default_factory=list, metadata={"help": "Further configurations to measure."})
    baselines: list[str] = field(default_factory=list, metadata={"help": "Other models to measure, FOLDER[@CONFIG]."})
    batch_size: int = field(default=32, metadata={"help": "Inputs of a batch, padded to the longest."})
    max_length: int | None = field(default=None, metadata={"help": "Tokens of an input; the task's by default."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows of a question share."})
    threads: int | None = field(default=None, metadata={"help": "Threads of the runtime."})
    seed: int = field(default=0, metadata={"help": "Seed of the split into samples and of the search."})

    def __post_init__(self):
        for name, value, valid in (("method", self.method, (None, *METHODS)), ("cost", self.cost, COSTS)):
            if value not in valid:
                names = ", ".join(repr(choice) for choice in valid if choice is not None)
                raise ValueError(f"{name} is {value!r}; valid are {names}.")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; valid are numbers from 1 on.")
        for name in ("threads", "eval_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; valid are numbers from 1 on, or leave it out.")
        if not 0 < self.max_loss <= 1:
            raise ValueError(f"max_loss is {self.max_loss}; valid are shares above 0 up to 1, for example {MAX_LOSS}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction}; valid are shares between 0 and 1, for example 0.1. "
                "Scores on training data are too high."
            )
