# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Sub-networks: which part of a model runs in a call. Plain Python, no tensor library.

A length configuration has one entry for each layer, and entries never increase. Integers are token counts; floats in (0, 1]
are shares of the example's own real tokens, rounded up (Length-Adaptive Transformer, arXiv 2010.07003, section 3; shares are
an addition of this package, so that one configuration serves inputs of every length).
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields


FULL = "full"  # the name of the sub-network that drops nothing, on every model
MIN_TOKENS = 2  # CLS and one token that can hold an answer; the papers' floor too
# Shares count in ten-thousandths. Integer arithmetic rounds alike in Python, torch and exported graphs, whose runtimes may
# do it in float32: a share times 512 tokens is below 2^24.
SHARE_UNIT = 10**4
# The largest token count of a length configuration; no input is longer. A runtime may multiply a count by the tokens of an
# example in 32 bits: 2^20 * 512 is below 2^31.
MAX_COUNT = 2**20


@dataclass(frozen=True)
class SubNetwork:
    """The part of a model that runs in a call. `SubNetwork()` is the whole model, `"full"`.

    Args:
        length_config (`tuple[int, ...]` or `tuple[float, ...]`, *optional*): tokens of an example that leave each layer, one
            entry for each layer of the model; `None` keeps all tokens.
        layers (`tuple[int, ...]`, *optional*): indices of the layers that run, increasing, from 0; `None` runs all layers
            (LayerDrop, arXiv 1909.11556). Where a layer that drops tokens is left out, the next layer that may drop does it.
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
            config (`PreTrainedConfig`): configuration of the model, with `num_hidden_layers`; `budgets`, `length_config` and
                `drop_layers` count where the configuration has them.
            value (`str`, `list`, `dict`, `SubNetwork` or `None`): the name of a budget, a length configuration, a `dict` of
                this class's fields, a sub-network, or `None` for the model's default.

        Returns:
            `SubNetwork`: valid for the model.

        Raises:
            ValueError: the model has no budget of this name, a key is no field, or a value is impossible for the model.
        """
        if value is None:
            value = getattr(config, "length_config", None)  # configurations of other architectures have no default
        if value is None:
            return cls()
        if isinstance(value, str):
            return _named(config, value)
        if isinstance(value, Mapping):
            value = cls(**_checked_keys(value))
        elif not isinstance(value, cls):
            value = cls(length_config=_as_tuple(value, config.num_hidden_layers))
        return value._validated(config)

    @classmethod
    def read_entry(cls, config, entry) -> "SubNetwork":
        """Reads and validates an entry of `config.budgets`: a length configuration, or a `dict` with measured values too."""
        if isinstance(entry, Mapping):
            names = [field.name for field in fields(cls)]
            entry = {name: entry.get(name) for name in names}
            if not any(value is not None for value in entry.values()):
                raise ValueError(f'a budget other than "{FULL}" needs at least one of {", ".join(names)}.')
        return cls.parse(config, entry)

    def entry(self) -> dict[str, list]:
        """The fields that differ from the whole model, as `config.budgets` stores them."""
        return {name: list(value) for name, value in asdict(self).items() if value is not None}

    def layer_entries(self, config) -> list[tuple[int, int | float | None]]:
        """The layers that run, in order, each with its entry of the length configuration (`None` keeps all tokens)."""
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

    def macs(self, config, tokens: int) -> int:
        """Multiply-accumulate operations of the encoder for one example, in closed form.

        A layer that `p` tokens enter and `l` leave costs `4pH² + 2p²H` for attention and `2lHI` for the FFN (hidden size H,
        intermediate size I), and one operation per element for each LayerNorm. A layer that selects tokens before attention
        (`early_selection_until`) costs `2(p + l)H² + 2plH` for attention. The published "GFLOPs" of QuaLA-MiniLM
        (arXiv 2210.17114, table 2) are this number. The cost of selecting tokens is left out, as it is there; learned
        importance costs about 1.5 % of a layer that drops (H = 384, 64 dimensions, 160 tokens). An example with fewer tokens
        than `config.min_tokens_to_drop` keeps all of them.

        Args:
            config (`PreTrainedConfig`): configuration of any architecture with `num_hidden_layers`, `hidden_size` and
                `intermediate_size`.
            tokens (`int`): tokens of the example. Padding counts only where `tokens` includes it.

        Returns:
            `int`: multiply-accumulate operations.
        """
        hidden = config.hidden_size
        intermediate = getattr(config, "intermediate_size", None) or config.hidden_dim  # DistilBERT's name for it
        early = getattr(config, "early_layers", ())  # other architectures have none
        min_tokens = getattr(config, "min_tokens_to_drop", 0)
        macs, entering = tokens * hidden, tokens  # the LayerNorm of the embeddings
        for layer, entry in self.layer_entries(config):
            leaving = entering if entry is None or tokens < min_tokens else token_count(entry, tokens)
            queries = leaving if layer in early else entering
            macs += 2 * (entering + queries) * hidden**2 + 2 * entering * queries * hidden
            macs += 2 * leaving * hidden * intermediate + (queries + leaving) * hidden
            entering = leaving
        return macs

    def encode(self, config) -> list[int]:
        """The length configuration as exported graphs take it: one integer for each layer, see `encode_length_config`.

        Raises:
            ValueError: some layers do not run; an exported graph runs all its layers.
        """
        if self.layers is not None:
            raise ValueError(
                f"This budget runs layers {list(self.layers)} only, but an exported graph runs all its "
                f"{config.num_hidden_layers} layers. Give a length configuration alone, for example budget=[0.8, ...]."
            )
        return encode_length_config(self.length_config, config.num_hidden_layers)

    def _validated(self, config) -> "SubNetwork":
        """This sub-network, if a model with this configuration can run it."""
        if self.length_config is not None:
            validate_length_config(self.length_config, config.num_hidden_layers)
            validate_drops(self.length_config, dropping_layers(config), config.max_position_embeddings)
        if self.layers is None:
            return self
        _validate_layers(self.layers, config.num_hidden_layers)
        return SubNetwork(self.length_config) if len(self.layers) == config.num_hidden_layers else self


def resolve_arguments(config, budget=None, length_config=None) -> SubNetwork:
    """The sub-network that a call with these two arguments runs.

    Args:
        config (`DynamicTinyBertConfig`): configuration of the model.
        budget (`str`, `list`, `dict` or `SubNetwork`, *optional*): see [`SubNetwork.parse`].
        length_config (`str` or `list`, *optional*): short form of `budget` for a length configuration or a name.

    Returns:
        `SubNetwork`: valid for the model; the model's default where both arguments are `None`.

    Raises:
        ValueError: both are given, or the value is impossible for the model.
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


def refuse_unknown_arguments(arguments: Mapping, valid: Sequence[str]) -> None:
    """Refuses keyword arguments that a call would otherwise ignore.

    Args:
        arguments (`Mapping`): the keyword arguments that are left over.
        valid (`list[str]`): the names that the call takes.

    Raises:
        TypeError: a name is none of these; the error shows the nearest valid name.
    """
    for name in arguments:
        if name not in valid:
            nearest = difflib.get_close_matches(name, valid, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise TypeError(f"{name!r} is no argument of this call.{hint} Valid are {', '.join(sorted(valid))}.")


def validate_length_config(length_config: Sequence[int | float], num_layers: int) -> None:
    """Refuses a length configuration that no model of `num_layers` layers can run.

    Args:
        length_config (`list[int]` or `list[float]`): one entry for each layer.
        num_layers (`int`): layers of the model.

    Raises:
        ValueError: wrong number of entries, mixed types, an entry out of range, or an increasing entry.
    """
    entries = list(_as_tuple(length_config, num_layers))
    usage = _length_config_usage(num_layers)
    if len(entries) != num_layers:
        raise ValueError(f"length_config has {len(entries)} entries, the model has {num_layers} layers: {entries}. {usage}")
    types = {type(entry) for entry in entries}
    if types not in ({int}, {float}):
        names = ", ".join(sorted(entry_type.__name__ for entry_type in types))
        raise ValueError(
            f"length_config mixes or misuses types ({names}): {entries}. "
            f"Entries are either all integers (tokens) or all floats in (0, 1] (shares of the example's tokens). {usage}"
        )
    largest = MAX_COUNT if types == {int} else 1
    if not all(0 < entry <= largest for entry in entries):  # NaN is neither
        valid = f"integers from 1 to {MAX_COUNT}" if types == {int} else "floats in (0, 1]"
        raise ValueError(f"length_config has an entry out of range: {entries}. Valid are {valid}. {usage}")
    for layer, (before, after) in enumerate(zip(entries, entries[1:], strict=False), start=1):
        if after > before:
            raise ValueError(
                f"length_config increases at layer {layer} ({before} to {after}): {entries}. "
                f"A dropped token does not come back, so entries never increase. {usage}"
            )


def dropping_layers(config) -> Sequence[int]:
    """Indices of the layers that may drop tokens: those that `config.drop_layers` lists, or all layers."""
    listed = getattr(config, "drop_layers", None)  # other architectures have no such field
    return range(config.num_hidden_layers) if listed is None else listed


def validate_drops(length_config: Sequence[int | float], layers: Sequence[int], longest: int) -> None:
    """Refuses a valid length configuration that drops in other layers than these.

    Args:
        length_config (`list[int]` or `list[float]`): a valid length configuration.
        layers (`list[int]`): indices of the layers that may drop, from 0.
        longest (`int`): tokens of the model's longest input: so many before the first layer keep all.

    Raises:
        ValueError: it drops elsewhere.
    """
    before = longest if isinstance(length_config[0], int) else 1.0
    for layer, entry in enumerate(length_config):
        if entry < before and layer not in layers:
            numbers = ", ".join(str(index + 1) for index in layers)
            raise ValueError(
                f"length_config drops in layer {layer + 1}: {list(length_config)}. This model drops in layers {numbers} "
                f"only (config.drop_layers, counted from 0, is {list(layers)}): other entries repeat the one before them."
            )
        before = min(before, entry)


def share_units(share: float) -> int:
    """A share as an integer number of ten-thousandths (at least one)."""
    return max(1, round(share * SHARE_UNIT))


def token_count(entry: int | float, length: int) -> int:
    """Tokens of one example that leave a layer.

    Args:
        entry (`int` or `float`): the layer's entry of a valid length configuration.
        length (`int`): real tokens of the example.

    Returns:
        `int`: at least `MIN_TOKENS`, at most `length`.
    """
    count = entry if isinstance(entry, int) else -(-length * share_units(entry) // SHARE_UNIT)
    return min(length, max(MIN_TOKENS, count))


def encode_length_config(length_config: Sequence[int | float] | None, num_layers: int) -> list[int]:
    """One integer a layer, as exported graphs take it: a share in ten-thousandths, or a token count below zero.

    Args:
        length_config (`list[int]`, `list[float]` or `None`): a valid length configuration; `None` keeps all tokens.
        num_layers (`int`): layers of the model.

    Returns:
        `list[int]`.
    """
    entries = [1.0] * num_layers if length_config is None else length_config
    return [-entry if isinstance(entry, int) else share_units(entry) for entry in entries]


def count_macs(config, length_config: Sequence[int | float] | None, sequence_length: int) -> int:
    """Multiply-accumulate operations of the encoder for one example, see [`SubNetwork.macs`].

    Args:
        config (`PreTrainedConfig`): as for [`SubNetwork.macs`].
        length_config (`list[int]`, `list[float]` or `None`): the length configuration; `None` keeps all tokens.
        sequence_length (`int`): tokens of the example. Padding counts only where `sequence_length` includes it.

    Returns:
        `int`: multiply-accumulate operations.

    Raises:
        ValueError: the length configuration does not fit the configuration's layers.
    """
    if length_config is not None:
        validate_length_config(length_config, config.num_hidden_layers)
        length_config = tuple(length_config)
    return SubNetwork(length_config).macs(config, sequence_length)


def _named(config, name: str) -> SubNetwork:
    """The sub-network of a budget's name."""
    budgets = getattr(config, "budgets", None) or {}
    if name == FULL:
        return SubNetwork()
    if name in budgets:
        return SubNetwork.read_entry(config, budgets[name])
    valid = list(dict.fromkeys([FULL, *budgets]))
    nearest = difflib.get_close_matches(name, valid, n=1)
    hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
    raise ValueError(
        f'This model has no budget "{name}"; valid are {", ".join(valid)}.{hint} '
        f"Any list of {config.num_hidden_layers} entries is valid too: budget=[...]."
    )


def _checked_keys(value: Mapping) -> dict:
    """The same fields; refuses keys that are no field of `SubNetwork`."""
    valid = [field.name for field in fields(SubNetwork)]
    for key in value:
        if key not in valid:
            nearest = difflib.get_close_matches(str(key), valid, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(
                f"budget has the key {key!r}; valid are {', '.join(valid)}.{hint} For example budget={{'layers': [0, 1]}}."
            )
    return dict(value)


def _as_tuple(length_config, num_layers: int) -> tuple:
    """A length configuration as a tuple; refuses what is no sequence."""
    if isinstance(length_config, str) or not isinstance(length_config, Sequence):
        raise ValueError(f"length_config is {length_config!r}, not a list of numbers. {_length_config_usage(num_layers)}")
    return tuple(length_config)


def _length_config_usage(num_layers: int) -> str:
    """One sentence that shows a valid length configuration."""
    example = f"[1.0, ...] with {num_layers} entries"
    if num_layers < 10:
        example = [round(1 - 0.1 * layer, 1) for layer in range(num_layers)]
    return f"A length configuration for this model has {num_layers} entries, for example {example}."


def _validate_layers(layers: Sequence[int], num_layers: int) -> None:
    """Refuses layers that are no increasing indices of a model's layers."""
    valid = isinstance(layers, tuple) and len(layers) > 0 and all(type(layer) is int for layer in layers)
    valid = valid and layers[0] >= 0 and layers[-1] < num_layers
    if not valid or any(after <= before for before, after in zip(layers, layers[1:], strict=False)):
        given = list(layers) if isinstance(layers, tuple) else layers
        raise ValueError(f"layers is {given!r}; valid are increasing indices from 0 to {num_layers - 1}, for example [0].")
