# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint without parts for dropping that a runtime would pay for; it ranks tokens as before as far as it can."""

import contextlib
import tempfile

import torch
from torch import nn

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from ..tasks.base import Task
from .arguments import QuantizeArguments
from .calibration import calibration_calls


# Of the states' variance, which layer norm keeps near 1: only directions that hardly any token has are damped by it
RIDGE = 1e-4


@contextlib.contextmanager
def strip_scorers(args: QuantizeArguments, task: Task, config: DynamicTinyBertConfig, inputs: list[dict]):
    """Yields the checkpoint, or a copy without the token scorers and matches that the arguments leave out.

    Where a layer no longer matches tokens with the question (`importance_match_until`), its linear unit is fitted to the
    layer's scores on the calibration inputs.

    Args:
        args ([`QuantizeArguments`]): `model`, and the parts that the copy keeps.
        task ([`Task`]): task of the model.
        config ([`DynamicTinyBertConfig`]): configuration of the model.
        inputs (`list[dict[str, list[int]]]`): calibration inputs.

    Yields:
        `str`: folder or Hub id.

    Raises:
        ValueError: budgets that drop tokens in layers outside of `drop_layers`; before any work.
    """
    given = {name: getattr(args, name) for name in ("drop_layers", "importance_match_until", "dropped_logits")}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        yield args.model
        return
    DynamicTinyBertConfig.from_dict(config.to_dict() | given)  # raises an error for impossible values
    dropping = {name: value for name, value in given.items() if name == "drop_layers"}
    # Short calibration inputs score their tokens too, so that the fit sees inputs of every length
    original = task.auto_class.from_pretrained(args.model, min_tokens_to_drop=0, trust_remote_code=False, **dropping).eval()
    stripped = task.auto_class.from_pretrained(args.model, trust_remote_code=False, **given)
    pairs = [
        (before, after.unit)
        for before, after in zip(_scorers(original), _scorers(stripped), strict=True)
        if before is not None and before.rank and not after.rank
    ]
    if pairs:
        calls = calibration_calls(original.config, inputs, args.seed)
        for (_, unit), seen in zip(pairs, _watch(original, [scorer for scorer, _ in pairs], calls), strict=True):
            fit_unit(unit, seen)
    with tempfile.TemporaryDirectory() as folder:
        stripped.save_pretrained(folder)
        yield folder


def fit_unit(unit: nn.Linear, seen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Least squares: what scores say beyond the unit's own, as far as it is linear in the states, joins its weight.

    Scores rank the tokens of one example, so each example's mean is nothing to learn.

    Args:
        unit (`nn.Linear`): from a state to a score; changed in place.
        seen (`list[tuple[torch.Tensor, torch.Tensor]]`): states `(N, H)` and scores `(N,)`, an example each.
    """
    states = torch.cat([states - states.mean(dim=0) for states, _ in seen]).double()
    scores = torch.cat([scores - scores.mean() for _, scores in seen]).double()
    with torch.no_grad():
        missing = scores - states @ unit.weight[0].double()
        covariance = states.T @ states / len(states) + RIDGE * torch.eye(states.shape[1], dtype=states.dtype)
        unit.weight += torch.linalg.solve(covariance, states.T @ missing / len(states)).to(unit.weight.dtype)


def _scorers(model) -> list:
    return [layer.token_scorer for layer in model.bert.encoder.layer]


def _watch(model, scorers: list, calls: list) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """The states that enter each scorer in these calls and its scores, without tokens of the question."""
    seen = [[] for _ in scorers]

    def keep(found):
        def hook(_, inputs, scores):
            states, token_mask, segment = inputs[:3]
            competing = (token_mask & ~segment)[0]
            found.append((states[0, competing].clone(), scores[0, competing].clone()))

        return hook

    handles = [scorer.register_forward_hook(keep(found)) for scorer, found in zip(scorers, seen, strict=True)]
    with torch.inference_mode():
        for features, length_config in calls:
            model(**{name: torch.tensor([ids]) for name, ids in features.items()}, length_config=length_config)
    for handle in handles:
        handle.remove()
    return seen
