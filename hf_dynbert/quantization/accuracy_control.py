# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Selects the layers that stay in fp32, so that an int8 model keeps its accuracy."""

import logging

from tqdm.auto import tqdm


logger = logging.getLogger(__name__)

# Output projections of attention and FFN, whose inputs have outliers
SENSITIVE_PARTS = ("attention.output.dense", "output.dense")


def keep_sensitive_layers_in_fp32(build, measure, reference: dict[str, float], max_drop: float | None):
    """Makes an int8 model, and keeps layers in fp32 until the loss is at most `max_drop` at every budget.

    In each round, every layer that is still in int8 is tried in fp32; the layer that reduces the loss most stays in fp32.
    """

    def loss(scores: dict[str, float]) -> float:
        return max(reference[name] - score for name, score in scores.items())

    model, kept = build([]), []
    scores = measure(model)
    if max_drop is None:
        return model, kept, scores
    parts = [f"layer.{i}.{part}" for i in range(model.config.num_hidden_layers) for part in SENSITIVE_PARTS]
    progress = tqdm(desc="Layers kept in fp32", total=len(parts))
    while loss(scores) > max_drop and len(kept) < len(parts):
        best = None
        for part in parts:
            if part not in kept:
                trial = build([*kept, part])
                measured = measure(trial)
                if best is None or loss(measured) < loss(best[2]):
                    best = trial, part, measured
        model, part, scores = best
        kept.append(part)
        progress.update()
    progress.close()
    if loss(scores) > max_drop:
        logger.warning("int8 loses %.2f points even with %s in fp32; max_drop is %s.", loss(scores), kept, max_drop)
    return model, kept, scores
