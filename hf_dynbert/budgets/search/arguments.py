# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What `hf-dynbert search` can be told."""

from dataclasses import dataclass, field

from ...utils.defaults import MAX_LENGTH, STRIDE


METHODS = ("evolutionary", "tpe", "nsga2", "random")
COSTS = ("latency", "macs")


@dataclass
class SearchArguments:
    """A search for the budgets of a model that can drop tokens.

    Args:
        model (`str`): folder or Hub id: PyTorch, or OpenVINO. The runtime that will serve is the one to search on.
        output_dir (`str`): where the search is kept (`search.journal`, from which it resumes, and which several processes
            share), and its results: `front.json`, `front.png`, `front.md`.
        save_to (`list[str]`): model folders whose `config.json` gets the budgets; `model` itself when not given.
        train_file, dataset_name: questions the model was trained with, of which `held_out` was held out.
        held_out (`float`): the search sees this part of the articles alone; training must have had the same value.
        search_samples (`int`): held-out questions that score a configuration.
        screen_samples (`list[int]`): fewer questions, rising, that a configuration must do well on before.
        confirm_samples (`int`): further held-out questions, which the search has not seen: what is kept is measured and
            named on them, since the best of many on one sample looks better than it is.
        trained_samples (`int`): questions of training, on which a name must hold too, 95 % sure, counted in points of F1:
            held-out ones are few, and of many budgets the fastest that does well on them was lucky.
        max_loss (`float`): most of full length's F1 that is of interest: what loses more goes no further.
        eval_file (`list[str]`): dev questions; the budgets that are kept are scored on them once, at the end.
        eval_samples (`int`): so many of them, spread over the data.
        method, num_evaluations, seed: see `search_length_configs`.
        cost (`str`): what is to be low: `latency`, measured beside full length at batch 1 on real questions, or `macs`.
        latency_samples (`int`): questions that are timed, spread over the lengths.
        absolute (`bool`): search token counts, as the papers do, rather than shares of the example's tokens.
        length_configs (`list[str]`): more to place on the curve, such as published ones: `269,253,252,202,104,34`.
        beside (`list[str]`): other models to measure and draw with it: folders or Hub ids, plain models too; of one that can
            drop tokens also `FOLDER@315,251,242,159,142,33`.
        batch_size, max_length, stride (`int`): see `evaluate_squad`.
        threads (`int`): of the runtime; all that there are when not given.
    """

    model: str = field(metadata={"help": "Folder or Hub id to search on."})
    output_dir: str = field(metadata={"help": "Where the search is kept, and its results."})
    save_to: list[str] | None = field(default=None, metadata={"help": "Model folders that get the budgets."})
    train_file: list[str] | None = field(default=None, metadata={"help": "SQuAD files that the model was trained with."})
    dataset_name: str = field(default="rajpurkar/squad", metadata={"help": "Data set on the Hub."})
    held_out: float = field(default=0.1, metadata={"help": "Part of the questions that training held out, by article."})
    search_samples: int = field(default=800, metadata={"help": "Held-out questions that score a configuration."})
    screen_samples: list[int] = field(default_factory=lambda: [200], metadata={"help": "Fewer questions, tried before."})
    confirm_samples: int = field(default=2000, metadata={"help": "Further held-out questions that name the budgets."})
    trained_samples: int = field(default=4000, metadata={"help": "Questions of training that must bear a name out."})
    max_loss: float = field(default=0.15, metadata={"help": "Part of full length's F1: what loses more is left alone."})
    eval_file: list[str] | None = field(default=None, metadata={"help": "Dev questions, for what is kept, once."})
    eval_samples: int | None = field(default=None, metadata={"help": "Use so many of them."})
    method: str = field(default="evolutionary", metadata={"help": "How to search.", "choices": list(METHODS)})
    num_evaluations: int = field(default=100, metadata={"help": "Configurations to try."})
    cost: str = field(default="latency", metadata={"help": "What is to be low.", "choices": list(COSTS)})
    latency_samples: int = field(default=8, metadata={"help": "Questions that are timed."})
    absolute: bool = field(default=False, metadata={"help": "Search token counts rather than shares."})
    length_configs: list[str] = field(default_factory=list, metadata={"help": "More to place on the curve."})
    beside: list[str] = field(default_factory=list, metadata={"help": "Other models to measure with it, FOLDER[@CONFIG]."})
    batch_size: int = field(default=32, metadata={"help": "Windows of a batch, padded to the longest."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    threads: int | None = field(default=None, metadata={"help": "Threads of the runtime."})
    seed: int = field(default=0, metadata={"help": "Seed of the search."})

    def __post_init__(self):
        for name, value, valid in (("method", self.method, METHODS), ("cost", self.cost, COSTS)):
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        rising = [*self.screen_samples, self.search_samples]
        if rising != sorted(set(rising)) or rising[0] < 1:
            raise ValueError(
                f"screen_samples is {self.screen_samples}, search_samples {self.search_samples}; valid are rising numbers "
                "of questions, for example screen_samples 200 and search_samples 800."
            )
        for name in ("num_evaluations", "latency_samples", "batch_size", "confirm_samples", "trained_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; valid are numbers from 1 on.")
        if not 0 < self.max_loss <= 1:
            raise ValueError(
                f"max_loss is {self.max_loss}; valid are numbers above 0, and up to 1, which leaves nothing out."
            )
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; valid are numbers between 0 and 1: training data flatters.")
