# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length configurations: how many tokens of an example leave each layer. Plain Python, no tensor library.

A length configuration has one entry a layer and never increases. Integers are token counts; floats in (0, 1] are shares
of the example's own real tokens, rounded up (Length-Adaptive Transformer, arXiv 2010.07003, section 3; shares are ours,
so that one configuration serves inputs of every length).
"""

import random
from collections.abc import Sequence


MIN_TOKENS = 2  # CLS and one token that can hold an answer; the papers' floor too
NOMINAL_LENGTH = 160  # tokens for which shares are fitted to a cost: about the mean of SQuAD questions with their paragraphs
MIN_SHARE = 0.08  # about 13 of the 160: below it a SQuAD paragraph keeps fewer tokens than its question has
# Shares count in ten-thousandths. Integer arithmetic rounds alike in Python, torch and exported graphs, whose runtimes may
# do it in float32: a share times 512 tokens is below 2^24.
SHARE_UNIT = 10**4
EVERYTHING = 2**31  # an entry that no example is longer than
SHARE_DIGITS = 4  # decimals of such a share


def validate_length_config(length_config: Sequence[int | float], num_layers: int) -> None:
    """Refuses a length configuration that no model of `num_layers` layers can run.

    Args:
        length_config (`list[int]` or `list[float]`): one entry a layer.
        num_layers (`int`): layers of the model.

    Raises:
        ValueError: wrong number of entries, mixed kinds, an entry out of range, or an increasing entry.
    """
    example = (
        [round(1 - 0.1 * i, 1) for i in range(num_layers)] if num_layers < 10 else f"[1.0, ...] with {num_layers} entries"
    )
    usage = f"A length configuration for this model has {num_layers} entries, for example {example}."
    if isinstance(length_config, str) or not isinstance(length_config, Sequence):
        raise ValueError(f"length_config is {length_config!r}, not a list of numbers. {usage}")
    entries = list(length_config)
    if len(entries) != num_layers:
        raise ValueError(f"length_config has {len(entries)} entries, the model has {num_layers} layers: {entries}. {usage}")
    kinds = {type(entry) for entry in entries}
    if kinds not in ({int}, {float}):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(
            f"length_config mixes or misuses types ({names}): {entries}. "
            f"Entries are either all integers (tokens) or all floats in (0, 1] (shares of the example's tokens). {usage}"
        )
    if min(entries) <= 0 or (kinds == {float} and not max(entries) <= 1):
        valid = "floats in (0, 1]" if kinds == {float} else "positive integers"
        raise ValueError(f"length_config has an entry out of range: {entries}. Valid are {valid}. {usage}")
    for layer, (before, after) in enumerate(zip(entries, entries[1:], strict=False), start=1):
        if after > before:
            raise ValueError(
                f"length_config increases at layer {layer} ({before} to {after}): {entries}. "
                f"A dropped token does not come back, so entries never increase. {usage}"
            )


def dropping_layers(config) -> Sequence[int]:
    """The layers of a model that may drop: those that its `drop_layers` lists, or all."""
    listed = getattr(config, "drop_layers", None)  # other architectures have no such field
    return range(config.num_hidden_layers) if listed is None else listed


def early_layers(config) -> range:
    """The layers that choose before their attention who stays, so that only those ask: see `early_selection_until`."""
    learned = getattr(config, "importance", None) == "learned"  # other architectures have no such fields
    return range(getattr(config, "early_selection_until", 0) if learned else 0)


def validate_drops(length_config: Sequence[int | float], layers: Sequence[int], longest: int) -> None:
    """Refuses a valid length configuration that drops in other layers than these.

    Args:
        length_config (`list[int]` or `list[float]`): a valid length configuration.
        layers (`list[int]`): the layers that may drop, from 0.
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


def skip_layers(length_config: Sequence[int | float], running: Sequence[int], layers: Sequence[int]) -> list[int | float]:
    """A length configuration for some layers only: where a layer that drops is left out, the next that may drop does it.

    Args:
        length_config (`list[int]` or `list[float]`): a valid length configuration.
        running (`list[int]`): the layers that run.
        layers (`list[int]`): the layers that may drop.

    Returns:
        `list[int]` or `list[float]`: one entry for each layer that runs.
    """
    entries, left = [], EVERYTHING if isinstance(length_config[0], int) else 1.0
    for layer in running:
        if layer in layers:
            left = length_config[layer]
        entries.append(left)
    return entries


def share_units(share: float) -> int:
    """A share as an integer number of ten-thousandths (at least one)."""
    return max(1, round(share * SHARE_UNIT))


def token_counts(length_config: Sequence[int | float], length: int) -> list[int]:
    """Tokens of one example that leave each layer.

    Args:
        length_config (`list[int]` or `list[float]`): a valid length configuration.
        length (`int`): real tokens of the example.

    Returns:
        `list[int]`: one count a layer; at least `MIN_TOKENS`, at most `length`.
    """
    if isinstance(length_config[0], int):
        wanted = length_config
    else:
        wanted = [-(-length * share_units(share) // SHARE_UNIT) for share in length_config]
    return [min(length, max(MIN_TOKENS, count)) for count in wanted]


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


def constant_drop(
    num_layers: int, ratio: float, sequence_length: int | None = None, layers: Sequence[int] | None = None
) -> list[int] | list[float]:
    """The configuration in which every layer drops the same ratio of the tokens that reach it.

    Args:
        num_layers (`int`): layers of the model.
        ratio (`float`): share of its incoming tokens that each layer drops, in [0, 1).
        sequence_length (`int`, *optional*): count in tokens of a sequence of this length, rounding up at each layer as
            the Length-Adaptive Transformer does (arXiv 2010.07003, section 3.2); shares when it is not given.
        layers (`list[int]`, *optional*): layers that may drop; all of them when it is not given.

    Returns:
        `list[int]` or `list[float]`: the length configuration.
    """
    entries, left = [], 1.0 if sequence_length is None else sequence_length
    for layer in range(num_layers):
        if layers is None or layer in layers:
            left = _after_drop(left, ratio, sequence_length)
        entries.append(left)
    return entries


def sample_length_config(
    rng: random.Random,
    num_layers: int,
    bound: float,
    sequence_length: int | None = None,
    layers: Sequence[int] | None = None,
) -> list[int] | list[float]:
    """Draws a length configuration as LengthDrop training does (arXiv 2010.07003, section 3.2).

    Layer by layer the length is drawn uniformly between what is left and `1 - bound` of it.

    Args:
        rng (`random.Random`): source of chance; the same state gives the same configuration.
        num_layers (`int`): layers of the model.
        bound (`float`): most that one layer drops of its incoming tokens, in [0, 1).
        sequence_length (`int`, *optional*): draw token counts for this length; shares when it is not given.
        layers (`list[int]`, *optional*): layers that may drop; all of them when it is not given.

    Returns:
        `list[int]` or `list[float]`: the length configuration.
    """
    entries, left = [], 1.0 if sequence_length is None else sequence_length
    for layer in range(num_layers):
        if layers is None or layer in layers:
            lowest = _after_drop(left, bound, sequence_length)
            left = round(rng.uniform(lowest, left), SHARE_DIGITS) if sequence_length is None else rng.randint(lowest, left)
        entries.append(left)
    return entries


def fit_length_config(config, macs_ratio: float, layers: Sequence[int] | dict[int, float]) -> list[float]:
    """Finds the shares that cost a given part of the full model's operations when only some layers drop.

    Args:
        config (`PreTrainedConfig`): as for `count_macs`.
        macs_ratio (`float`): wanted part of the full model's operations, in (0, 1].
        layers (`list[int]` or `dict[int, float]`): the layers that drop, from 0; each drops the same ratio of what reaches
            it, or, with a dict, drops weighted so (weights are shares of the logarithm of the whole drop).

    Returns:
        `list[float]`: the length configuration. Where even dropping almost all tokens in these layers costs more than
        wanted, the cheapest there is.

    Raises:
        ValueError: a ratio out of (0, 1], no layer, or a layer that the model does not have.
    """
    weights = layers if isinstance(layers, dict) else dict.fromkeys(layers, 1.0)
    if not 0 < macs_ratio <= 1:
        raise ValueError(f"macs_ratio is {macs_ratio}; valid are numbers in (0, 1], for example 0.5.")
    if not weights or min(weights) < 0 or max(weights) >= config.num_hidden_layers:
        raise ValueError(f"layers are {sorted(weights)}; valid are some of 0 to {config.num_hidden_layers - 1}.")
    full = count_macs(config, None, NOMINAL_LENGTH)
    low, high = MIN_SHARE, 1.0
    for _ in range(30):  # bisection of the last share down to 1e-9, finer than a share's unit
        middle = (low + high) / 2
        cost = count_macs(config, _split_drop(config.num_hidden_layers, weights, middle), NOMINAL_LENGTH)
        low, high = (low, middle) if cost > macs_ratio * full else (middle, high)
    return _split_drop(config.num_hidden_layers, weights, low)


def sample_budget(rng: random.Random, config, smallest: float, largest: float = 1.0) -> list[float]:
    """Draws where to drop as well as how much, evenly over cost.

    LengthDrop's own sampling (`sample_length_config`) never drops much in one layer, but few large drops can cost less time
    than many small ones; a model that is to serve both must have seen both. The places are drawn by `sample_placement`, and
    the cost is uniform in [`smallest`, 1].

    Args:
        rng (`random.Random`): source of chance.
        config (`PreTrainedConfig`): as for `fit_length_config`.
        smallest, largest (`float`): least and most of the full model's operations, in (0, 1].

    Returns:
        `list[float]`: the length configuration.
    """
    return fit_length_config(config, rng.uniform(smallest, largest), sample_placement(rng, dropping_layers(config)))


def sample_placement(rng: random.Random, layers: Sequence[int]) -> dict[int, float]:
    """Draws which of these layers drop, with weights for `fit_length_config`: every other time all of them."""
    number = len(layers) if rng.random() < 0.5 else rng.randint(1, len(layers))
    return {layer: rng.gammavariate(2.0, 0.5) for layer in sorted(rng.sample(layers, number))}


def count_macs(config, length_config: Sequence[int | float] | None, sequence_length: int) -> int:
    """Multiply-accumulate operations of the encoder for one example, in closed form.

    A layer that `p` tokens enter and `l` leave costs `4pH² + 2p²H` for attention and `2lHI` for the FFN (hidden size H,
    intermediate size I), and one operation an element for each LayerNorm; where only those that stay ask
    (`early_selection_until`), attention costs `2(p + l)H² + 2plH`. The published "GFLOPs" of QuaLA-MiniLM
    (arXiv 2210.17114, table 2) are this number. What decides which tokens stay is left out, as it is there; learned
    importance costs about 1.5 % of a layer that drops (H = 384, 64 dimensions, 160 tokens).

    Args:
        config (`PreTrainedConfig`): anything with `num_hidden_layers`, `hidden_size` and `intermediate_size`; of ours
            `importance` and `early_selection_until` count too.
        length_config (`list[int]`, `list[float]` or `None`): the length configuration; `None` keeps all tokens.
        sequence_length (`int`): tokens of the example. Padding counts only when it is counted in here.

    Returns:
        `int`: multiply-accumulate operations.

    Raises:
        ValueError: the length configuration does not fit the configuration's layers.
    """
    layers, hidden = config.num_hidden_layers, config.hidden_size
    intermediate = getattr(config, "intermediate_size", None) or config.hidden_dim  # DistilBERT's name for it
    if length_config is None:
        counts = [sequence_length] * layers
    else:
        validate_length_config(length_config, layers)
        counts = token_counts(length_config, sequence_length)
    macs, entering = sequence_length * hidden, sequence_length  # the embeddings' LayerNorm
    for layer, leaving in enumerate(counts):
        asking = leaving if layer in early_layers(config) else entering
        macs += 2 * (entering + asking) * hidden**2 + 2 * entering * asking * hidden + 2 * leaving * hidden * intermediate
        macs += (asking + leaving) * hidden
        entering = leaving
    return macs


def parse_length_config(text: str) -> list[int] | list[float] | str:
    """Reads a length configuration as a person types it: `0.9,0.5,0.3`, `(269, 253, 34)`, or a budget's name.

    Args:
        text (`str`): numbers separated by commas, in brackets or not, or a name.

    Returns:
        `list[int]`, `list[float]`, or the name as it came.
    """
    body = text.strip().strip("()[]").rstrip(",")
    entries = [entry.strip() for entry in body.split(",")]
    try:
        return [int(entry) for entry in entries]
    except ValueError:
        pass
    try:
        return [float(entry) for entry in entries]
    except ValueError:
        return text.strip()


def _after_drop(left: int | float, ratio: float, sequence_length: int | None) -> int | float:
    """What is left of `left` tokens (or of a share) once `ratio` of it is dropped; tokens are rounded up."""
    if sequence_length is None:
        return round(left * (1 - ratio), SHARE_DIGITS)
    keep_units = SHARE_UNIT - round(ratio * SHARE_UNIT)
    return min(left, max(MIN_TOKENS, -(-left * keep_units // SHARE_UNIT)))


def _split_drop(num_layers: int, weights: dict[int, float], final: float) -> list[float]:
    """Shares that fall from 1 to `final`, each layer taking its part of the logarithm."""
    total, done, entries = sum(weights.values()), 0.0, []
    for layer in range(num_layers):
        done += weights.get(layer, 0.0)
        entries.append(round(final ** (done / total), SHARE_DIGITS))
    return entries
