# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The budgets of a configuration: cost and names."""

import re
from collections.abc import Sequence

from ..subnetwork import FULL, SubNetwork, token_count, validate_length_config


def count_macs(config, subnetwork: SubNetwork | Sequence[int | float] | None, tokens: int) -> int:
    """Returns the multiply-accumulate operations of the encoder for one example, in closed form.

    A layer that `p` tokens enter and `l` leave costs `4pH² + 2p²H` for attention and `2lHI` for the FFN (hidden size H,
    intermediate size I), and one operation per element for each LayerNorm. A layer that selects tokens before attention
    (`early_selection_until`) costs `2(p + l)H² + 2plH` for attention. The published "GFLOPs" of QuaLA-MiniLM
    (arXiv 2210.17114, table 2) are this number. The cost of selecting tokens is left out, as it is there; learned importance
    costs about 1.5 % of a layer that drops (H = 384, 64 dimensions, 160 tokens). An example with fewer tokens than
    `config.min_tokens_to_drop` keeps all of them.

    Args:
        config (`PreTrainedConfig`): configuration of any architecture with `num_hidden_layers`, `hidden_size` and
            `intermediate_size`.
        subnetwork (`SubNetwork`, `list` or `None`): a sub-network, a length configuration, or `None` for the whole model.
        tokens (`int`): tokens of the example. Padding counts only where `tokens` includes it.

    Raises:
        ValueError: a length configuration that does not fit the configuration's layers.
    """
    if not isinstance(subnetwork, SubNetwork):
        if subnetwork is not None:
            validate_length_config(subnetwork, config.num_hidden_layers)
        subnetwork = SubNetwork(subnetwork)
    hidden = config.hidden_size
    intermediate = getattr(config, "intermediate_size", None) or config.hidden_dim  # DistilBERT's name for it
    early = getattr(config, "early_layers", ())  # other architectures have none
    min_tokens = getattr(config, "min_tokens_to_drop", 0)
    macs, entering = tokens * hidden, tokens  # the LayerNorm of the embeddings
    for layer, entry in subnetwork.layer_entries(config):
        leaving = entering if entry is None or tokens < min_tokens else token_count(entry, tokens)
        queries = leaving if layer in early else entering
        macs += 2 * (entering + queries) * hidden**2 + 2 * entering * queries * hidden
        macs += 2 * leaving * hidden * intermediate + (queries + leaving) * hidden
        entering = leaving
    return macs


def named_budgets(config) -> list[str]:
    """Returns `"full"` and the budgets of a configuration, without the unnamed points of a searched front."""
    return [FULL, *(name for name, entry in (config.budgets or {}).items() if name != FULL and not _is_point(name, entry))]


def length_configs(config) -> dict[str, list[int | float]]:
    """Returns the length configurations of the budgets by name, without budgets that have none or leave layers out."""
    budgets = {name: config.resolve_budget(name) for name in config.budgets or {}}
    return {
        name: list(budget.length_config)
        for name, budget in budgets.items()
        if budget.length_config is not None and budget.layers is None
    }


def _is_point(name: str, entry) -> bool:
    """Whether a search saved the entry as an unnamed point of its front."""
    if not isinstance(entry, dict) or entry.keys() <= SubNetwork.__dataclass_fields__.keys():
        return False
    return entry.get("point", re.fullmatch(r"front-\d+", name) is not None)  # searches of version 0.1 wrote no such field
