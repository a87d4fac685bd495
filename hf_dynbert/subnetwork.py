# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Sub-networks: which part of a model runs in a call. Plain Python, no tensor library.

A length configuration has one entry for each layer, and entries never increase. Integers are token counts; floats in (0, 1]
are shares of the example's own real tokens, rounded up (Length-Adaptive Transformer, arXiv 2010.07003, section 3; shares are
an addition of this package, so that one configuration serves inputs of every length).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields


FULL = "full"  # the name of the sub-network that drops nothing, on every model
MIN_TOKENS = 2  # CLS and one token that can be an answer, as in the papers
# Shares are integers in ten-thousandths, so Python, torch and exported graphs round alike. A runtime may use float32, which
# is exact here: a share times 512 tokens is below 2^24.
SHARE_UNIT = 10**4
# The largest token count of a length configuration; no input is longer. A runtime may multiply a count by the length of an
# example in 32 bits: 2^20 * 512 is below 2^31.
MAX_COUNT = 2**20
EXAMPLE = {"layers": [0, 1]}  # in errors


@dataclass(frozen=True)
class SubNetwork:
    """The part of a model that runs in a call. `SubNetwork()` is the whole model, `"full"`.

    Args:
        length_config (`tuple[int, ...]` or `tuple[float, ...]`, *optional*): tokens of an example that leave each layer, one
            entry for each layer of the model; `None` keeps all tokens.
        layers (`tuple[int, ...]`, *optional*): indices of the layers that run, increasing, from 0; `None` runs all layers
            (LayerDrop, arXiv 1909.11556). If a layer that drops tokens is left out, the next layer that may drop drops them.
    """

    length_config: tuple[int | float, ...] | None = None
    layers: tuple[int, ...] | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (list, range)):
                object.__setattr__(self, field.name, tuple(value))  # the dataclass is frozen

    @classmethod
    def parse(cls, config, value=None) -> "SubNetwork":
        """Reads and validates the value of a `budget=` argument.

        Args:
            config (`DynamicTinyBertConfig`): configuration of the model.
            value (`str`, `list`, `dict`, `SubNetwork` or `None`): the name of a budget, a length configuration, a `dict` of
                this class's fields, a sub-network, or `None` for the model's default.

        Raises:
            ValueError: the model has no budget of this name, a key is not a field, or a value is impossible for the model.
        """
        if value is None:
            value = config.length_config
        if value is None:
            return cls()
        if isinstance(value, str):
            value = cls() if value == FULL else _entry(config, value)
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.__dataclass_fields__:
                    valid = ", ".join(cls.__dataclass_fields__)
                    hint = nearest_hint(key, cls.__dataclass_fields__)
                    raise ValueError(f"budget has the key {key!r}; valid are {valid}.{hint} For example budget={EXAMPLE}.")
            value = cls(**value)
        elif not isinstance(value, cls):
            value = cls(length_config=value)
        value._check(config)
        return value if value.layers != tuple(range(config.num_hidden_layers)) else cls(value.length_config)

    def layer_entries(self, config) -> list[tuple[int, int | float | None]]:
        """Returns the layers that run, each with its entry of the length configuration (`None` keeps all tokens)."""
        running = range(config.num_hidden_layers) if self.layers is None else self.layers
        if self.length_config is None:
            return [(layer, None) for layer in running]
        may_drop = dropping_layers(config)
        entries, entry = [], None
        for layer in running:
            if layer in may_drop:
                entry = self.length_config[layer]
            entries.append((layer, entry))
        return entries

    def encode(self, config) -> list[int]:
        """Returns the length configuration as exported graphs take it, see `encode_entry`.

        Raises:
            ValueError: some layers do not run; an exported graph runs all its layers.
        """
        if self.layers is not None:
            raise ValueError(
                f"This budget runs layers {list(self.layers)} only, but an exported graph runs all its "
                f"{config.num_hidden_layers} layers. Give a length configuration alone, for example budget=[0.8, ...]."
            )
        return [encode_entry(entry) for entry in self.length_config or [1.0] * config.num_hidden_layers]

    def _check(self, config) -> None:
        """Refuses a sub-network that a model with this configuration cannot run."""
        if self.length_config is not None:
            validate_length_config(self.length_config, config.num_hidden_layers)
            _check_drops(self.length_config, dropping_layers(config), config.max_position_embeddings)
        if self.layers is not None:
            _check_layers(self.layers, config.num_hidden_layers)


def resolve_arguments(config, budget=None, length_config=None) -> SubNetwork:
    """Returns the sub-network that these two arguments select, checked for the model.

    `length_config` is the short form of `budget` for a length configuration or a name; both at once are refused.
    """
    if budget is not None and length_config is not None:
        raise ValueError(
            f"budget is {budget!r} and length_config is {length_config!r}; a call takes one of them, for example "
            f'budget="{FULL}".'
        )
    if isinstance(length_config, (Mapping, SubNetwork)):
        raise ValueError(
            f"length_config is {length_config!r}; valid are a list and a name. budget={length_config!r} takes this value."
        )
    return SubNetwork.parse(config, length_config if budget is None else budget)


def refuse_unknown_arguments(arguments: Iterable[str], valid: Iterable[str]) -> None:
    """Refuses keyword arguments that a call would otherwise ignore.

    Raises:
        TypeError: a name is not valid; the error shows the nearest valid name.
    """
    for name in arguments:
        if name not in valid:
            hint = nearest_hint(name, valid)
            raise TypeError(f"{name!r} is no argument of this call.{hint} Valid are {', '.join(sorted(valid))}.")


def nearest_hint(name, valid: Iterable[str]) -> str:
    """Returns a sentence with the valid name that is most like this name, or an empty string."""
    nearest = difflib.get_close_matches(str(name), valid, n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def validate_length_config(length_config: Sequence[int | float], num_layers: int) -> None:
    """Refuses a length configuration that no model of `num_layers` layers can run, with a `ValueError`."""
    entries = list(length_config) if isinstance(length_config, (list, tuple)) else length_config
    if (fault := _fault(entries, num_layers)) is not None:
        example = [round(max(0.1, 1 - 0.1 * layer), 1) for layer in range(num_layers)]
        raise ValueError(
            f"length_config {fault}: {entries!r}. A length configuration for this model has {num_layers} entries, for "
            f"example {example}."
        )


def _fault(entries, num_layers: int) -> str | None:
    """What is wrong with a length configuration; `None` if it is valid."""
    if not isinstance(entries, list):
        return "is not a list of numbers"
    if len(entries) != num_layers:
        return f"has {len(entries)} entries, the model has {num_layers} layers"
    types = {type(entry) for entry in entries}
    if types not in ({int}, {float}):
        return "has wrong or mixed types; valid are only integers (tokens) or only floats in (0, 1] (shares of the tokens)"
    largest, valid = (MAX_COUNT, f"integers from 1 to {MAX_COUNT}") if types == {int} else (1, "floats in (0, 1]")
    if not all(0 < entry <= largest for entry in entries):  # also refuses NaN
        return f"has an entry out of range; valid are {valid}"
    for layer in range(1, num_layers):
        if entries[layer] > entries[layer - 1]:
            return f"increases at layer {layer}; a dropped token does not come back, so entries never increase"
    return None


def dropping_layers(config) -> Sequence[int]:
    """Indices of the layers that may drop tokens: those that `config.drop_layers` lists, or all layers."""
    listed = getattr(config, "drop_layers", None)  # other architectures have no such field
    return range(config.num_hidden_layers) if listed is None else listed


def _check_drops(length_config: Sequence[int | float], layers: Sequence[int], longest: int) -> None:
    """Refuses drops in other layers than these; an integer entry of `longest` tokens drops nothing."""
    before = longest if isinstance(length_config[0], int) else 1.0
    for layer, entry in enumerate(length_config):
        if entry < before and layer not in layers:
            numbers = ", ".join(str(index + 1) for index in layers)
            raise ValueError(
                f"length_config drops in layer {layer + 1}: {list(length_config)}. This model drops in layers {numbers} "
                f"only (config.drop_layers, counted from 0, is {list(layers)}): other entries repeat the one before them."
            )
        before = min(before, entry)


def _check_layers(layers: Sequence[int], num_layers: int) -> None:
    """Refuses layers that are not increasing indices of a model's layers."""
    valid = isinstance(layers, tuple) and all(type(layer) is int and 0 <= layer < num_layers for layer in layers)
    if not valid or not layers or list(layers) != sorted(set(layers)):
        given = list(layers) if isinstance(layers, tuple) else layers
        raise ValueError(f"layers is {given!r}; valid are increasing indices from 0 to {num_layers - 1}, for example [0].")


def divide_up(number, divisor: int):
    """Returns the quotient of an integer, or of a tensor of integers, rounded up."""
    return -(-number // divisor)


def share_units(share: float) -> int:
    """A share as an integer number of ten-thousandths (at least one)."""
    return max(1, round(share * SHARE_UNIT))


def token_count(entry: int | float, length: int) -> int:
    """Tokens that leave a layer with this entry, for an example of `length` real tokens: from `MIN_TOKENS` to `length`."""
    count = entry if isinstance(entry, int) else divide_up(length * share_units(entry), SHARE_UNIT)
    return min(length, max(MIN_TOKENS, count))


def encode_entry(entry: int | float) -> int:
    """An entry as exported graphs take it: a share in ten-thousandths, or a negated token count."""
    return -entry if isinstance(entry, int) else share_units(entry)


def _entry(config, name: str) -> Sequence | dict:
    """The entry of a budget's name in `config.budgets`, without measured values."""
    budgets = config.budgets or {}
    if name not in budgets:
        valid = list(dict.fromkeys([FULL, *budgets]))
        raise ValueError(
            f'This model has no budget "{name}"; valid are {", ".join(valid)}.{nearest_hint(name, valid)} '
            f"Any list of {config.num_hidden_layers} entries is valid too: budget=[...]."
        )
    entry, names = budgets[name], list(SubNetwork.__dataclass_fields__)
    if isinstance(entry, Mapping):
        entry = {name: entry[name] for name in names if entry.get(name) is not None}
        if not entry:
            raise ValueError(f'a budget other than "{FULL}" needs at least one of {", ".join(names)}.')
    return entry
