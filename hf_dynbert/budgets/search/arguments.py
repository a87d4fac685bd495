# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of `hf-dynbert search`."""

from dataclasses import dataclass, field

from ...utils.errors import check_choice, check_number, refuse_without_effect
from ...utils.task_arguments import TaskArguments
from ..budget import MAX_LOSS


METHODS = ("grid", "tpe", "nsga2")
COSTS = ("latency", "macs")
COUNTS = ("search_samples", "confirm_samples", "training_samples", "num_evaluations", "latency_samples", "batch_size")


@dataclass
class SearchArguments(TaskArguments):
    """A search for the budgets of a model. Options of the data: see [`~hf_dynbert.utils.task_arguments.TaskArguments`].

    Args:
        model (`str`): folder or Hub id: PyTorch, or OpenVINO. Search in the runtime that will serve.
        output_dir (`str`): folder for the evaluations (`search.journal`, from which the search resumes and which several
            processes share) and for the results: `front.json`, `front.png`, `front.md`.
        save_to (`list[str]`): model folders whose `config.json` receives the budgets; `model` by default.
        train_file (`list[str]`): files that the model was trained on.
        dataset_name (`str`): data set on the Hub that the model was trained on; that of the task by default.
        validation_fraction (`float`): share of the data in the validation split. Training must have had the same value.
        search_samples (`int`): examples of the validation split that score a configuration during the search.
        confirm_samples (`int`): further examples of the validation split, which score the results once more: the best of
            many on one sample may look good by chance.
        training_samples (`int`): examples of the training split. The validation split is small; a named budget must also
            pass here, with 95 % confidence, counted in points of the metric.
        max_loss (`float`): largest share of full length's score that a saved budget may have lost.
        eval_file (`list[str]`): test examples. The results are scored on them once, at the end; nothing is chosen by it.
        eval_samples (`int`): number of test examples, spread over the data.
        method (`str`): how to search: a grid for at most two dropping layers, else TPE, by default.
        num_evaluations (`int`): configurations to evaluate.
        seed (`int`): seed of the draw of the samples, and of the search.
        cost (`str`): what the search lowers: `latency`, measured next to full length on real examples, or `macs`.
        latency_samples (`int`): examples that are timed, spread over the lengths.
        latency_batch_size (`int`, *optional*): copies of an example in a timed call; 8 for reranking, else 1, by default.
        batch_size (`int`): inputs of a batch, padded to the longest.
        threads (`int`): threads of the runtime; all cores by default.
    """

    model: str
    output_dir: str
    save_to: list[str] | None = None
    train_file: list[str] | None = None
    dataset_name: str | None = None
    validation_fraction: float = 0.1
    search_samples: int = 800
    confirm_samples: int = 2000
    training_samples: int = 4000
    max_loss: float = MAX_LOSS
    eval_file: list[str] | None = None
    eval_samples: int | None = None
    method: str | None = field(default=None, metadata={"choices": list(METHODS)})
    num_evaluations: int = 144
    cost: str = field(default="latency", metadata={"choices": list(COSTS)})
    latency_samples: int = 8
    latency_batch_size: int | None = None
    batch_size: int = 32
    threads: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.method is not None:
            check_choice("method", self.method, METHODS)
        check_choice("cost", self.cost, COSTS)
        if self.train_file:
            refuse_without_effect(self, ["dataset_name"], "next to train_file")
        if not self.eval_file:
            refuse_without_effect(self, ["eval_samples"], "without eval_file")
        for name in COUNTS:
            check_number(name, getattr(self, name), 1)
        for name in ("threads", "eval_samples", "latency_batch_size"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1)
        check_number("max_loss", self.max_loss, above=0, most=1, example=MAX_LOSS)
        # Scores on data that the model was trained on are too high
        check_number("validation_fraction", self.validation_fraction, above=0, below=1, example=0.1)
