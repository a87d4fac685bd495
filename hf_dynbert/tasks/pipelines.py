# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Parts that the pipelines of all tasks share: their tokenizer, their inputs, their options and the choice of a budget."""

import copy
import difflib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator

from torch.utils.data import IterableDataset

from ..utils.errors import check_number
from .inference import fixed_shape, max_tokens_of


# Arguments of `model.choose_budget`
LIMITS = ("max_latency_ms", "max_macs", "min_score", "speedup", "max_loss", "tokens", "nearest")

# `truncation` and `padding` are settings of a tokenizer's backend, which no other thread may use while they change. The lock
# belongs to the module, since locks in a pipeline would keep it from being copied to worker processes.
TOKENIZING = threading.Lock()


class Stream(IterableDataset):
    """Items that a pipeline reads one at a time; a generator would be read to its end before the first answer.

    Args:
        items (`Iterable`): the items.
        read (`Callable`): turns an item and its index into an input of the pipeline, or raises a ValueError.
    """

    def __init__(self, items: Iterable, read: Callable):
        self.items, self.read = items, read

    def __iter__(self) -> Iterator:
        for index, item in enumerate(self.items):
            yield self.read(item, index)


def rows_of(items):
    """The rows of a data frame, whose iterator gives the names of its columns; all else as it is."""
    return items.to_dict("records") if hasattr(items, "columns") and hasattr(items, "to_dict") else items


def own_tokenizer(tokenizer, name: str):
    """Returns a copy of a tokenizer with truncation, padding and left padding switched off.

    A call of a fast tokenizer switches truncation and padding on and off. If two threads do so, one of the calls fails with
    "Already borrowed". A pipeline's own copy is not used by other pipelines and users.
    """
    check_vocabulary(tokenizer, name)
    tokenizer = copy.deepcopy(tokenizer)
    if getattr(tokenizer, "is_fast", False):
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    ids = tokenizer("a")["input_ids"]
    if ids and ids[0] == tokenizer.cls_token_id:
        tokenizer.padding_side = "right"  # models with CLS in front count positions from it
    return tokenizer


def most_tokens(pipeline) -> int:
    """The longest input that the model of a pipeline reads."""
    limits = (pipeline.tokenizer.model_max_length, max_tokens_of(pipeline.model.config), fixed_shape(pipeline.model)[1])
    return min(limit for limit in limits if limit is not None)


def check_vocabulary(tokenizer, name: str) -> None:
    """Refuses an impossible length, and a tokenizer without words: as transformers makes one without files."""
    check_number(f"model_max_length of the tokenizer of {name}", tokenizer.model_max_length, 1, example=512)
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
        raise ValueError(
            f"{name} has no tokenizer: its tokenizer.json or vocabulary file is missing. Save the tokenizer into the folder "
            "(tokenizer.save_pretrained(folder)), or pass pipeline(..., tokenizer=...)."
        )


def budget_of_call(model, budget, length_config, limits: dict) -> dict:
    """Returns the arguments with which a call of the model runs the requested budget.

    Args:
        model: model of a pipeline, of any class.
        budget, length_config: the arguments of the same names of the model; `None` if not given.
        limits (`dict`): arguments of `model.choose_budget`; `None` if not given.

    Returns:
        `dict`: keyword arguments of the call; empty for the model's default.

    Raises:
        ValueError: more than one of the three arguments, a model without budgets, or an unknown budget.
    """
    limits = {name: value for name, value in limits.items() if value is not None}
    given = {name: value for name, value in (("budget", budget), ("length_config", length_config)) if value is not None}
    if not given and not limits:
        return {}
    requested = ", ".join(f"{name}={value!r}" for name, value in {**given, **limits}.items())
    if not hasattr(model.config, "resolve_budget"):
        raise ValueError(
            f"{type(model).__name__} is not length-adaptive and has no budgets, so {requested} cannot be used. Leave it "
            "out, or convert the checkpoint first: hf-dynbert convert --model CHECKPOINT --output_dir FOLDER."
        )
    if len(given) + bool(limits) > 1:
        raise ValueError(
            f"Got {requested}. Valid is one of budget, length_config, or limits ({', '.join(LIMITS)}), for example "
            'budget="full".'
        )
    for name, value in limits.items():
        if name == "nearest":
            check_flag(name, value)
        elif name == "tokens":
            check_count(name, value)
        else:
            check_number(name, value, above=0)
    chosen = model.choose_budget(**limits) if limits else next(iter(given.values()))
    model.config.resolve_budget(chosen)  # raises before any work
    return {"budget": chosen}


def check_count(name: str, value, least: int = 1, most: int | None = None) -> None:
    """Refuses a value that is not a whole number from `least` to `most`; `None` is an option that was not given."""
    if value is not None:
        check_number(name, value, least, most, whole=True)


def check_flag(name: str, value) -> None:
    """Refuses a value that is not a bool."""
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; valid are True and False.")


def check_options(given: Iterable[str], valid: Collection[str]) -> None:
    """Refuses options that a pipeline does not have."""
    for name in given:
        if name not in valid:
            nearest = difflib.get_close_matches(name, valid, n=1, cutoff=0)[0]
            raise TypeError(f"Unknown option {name}; the nearest valid one is {nearest}. Valid are {', '.join(valid)}.")


def check_batching(batch_size, num_workers) -> None:
    """Refuses sizes of batches and numbers of worker processes that a pipeline cannot run."""
    check_count("batch_size", batch_size)
    check_count("num_workers", num_workers, least=0)
