# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Which layers have to stay in floats, so that int8 holds its F1."""

import logging

from tqdm.auto import tqdm


logger = logging.getLogger(__name__)


def protect(build, measure, reference: dict[str, float], max_f1_drop: float | None):
    """Makes an int8 model, and leaves layers in fp32, the costliest first, until F1 holds at every budget.

    The layers are the two of each block that see the outliers: what leaves the attention, and what leaves the FFN.

    Args:
        build (`Callable`): makes an int8 model, but for the layers whose names it is given.
        measure (`Callable`): a model's F1 by budget.
        reference (`dict[str, float]`): F1 of the fp32 model by budget.
        max_f1_drop (`float`, *optional*): most F1 to lose; `None` keeps nothing.

    Returns:
        The model, the layers' names, and its F1 by budget.
    """

    def drop(scores) -> float:
        return max(reference[name] - score for name, score in scores.items())

    model, kept = build([]), []
    scores = measure(model)
    if max_f1_drop is None:
        return model, kept, scores
    layers = range(model.config.num_hidden_layers)
    parts = [f"layer.{i}.{part}" for i in layers for part in ("attention.output.dense", "output.dense")]
    progress = tqdm(desc="Layers kept in fp32", total=len(parts))
    while drop(scores) > max_f1_drop and len(kept) < len(parts):
        best = None
        for part in parts:
            if part not in kept:
                trial = build([*kept, part])
                measured = measure(trial)
                if best is None or drop(measured) < drop(best[2]):
                    best = trial, part, measured
        model, part, scores = best
        kept.append(part)
        progress.update()
    progress.close()
    if drop(scores) > max_f1_drop:
        logger.warning("int8 loses %.2f F1 even with %s in fp32; max_f1_drop is %s.", drop(scores), kept, max_f1_drop)
    return model, kept, scores
