# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint without parts for dropping that a runtime would pay for; it ranks tokens as before as far as it can."""

import contextlib
import tempfile

import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from .arguments import QuantizeArguments
from .calibration import calibration_calls


# Of the states' variance, which layer norm keeps near 1: only directions that hardly any token has are damped by it
RIDGE = 1e-4


@contextlib.contextmanager
def narrowed(args: QuantizeArguments, config: DynamicTinyBertConfig, tokenizer, data):
    """The checkpoint's place, or that of a copy without the parts for dropping that these arguments leave out.

    Where a layer no longer matches tokens with the question (`importance_match_until`), its linear unit learns from
    calibration's questions to say the same by the token's state alone.

    Args:
        args ([`QuantizeArguments`]): `model`, what to leave out of it, and how to calibrate.
        config ([`DynamicTinyBertConfig`]): of the model.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): questions that calibration may see.

    Raises:
        ValueError: budgets that drop elsewhere than in `drop_layers`; before any work.
    """
    given = {name: getattr(args, name) for name in ("drop_layers", "importance_match_until", "dropped_logits")}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        yield args.model
        return
    DynamicTinyBertConfig.from_dict(config.to_dict() | given)  # or an error
    dropping = {name: value for name, value in given.items() if name == "drop_layers"}
    wide = AutoModelForQuestionAnswering.from_pretrained(args.model, **dropping).eval()
    narrow = AutoModelForQuestionAnswering.from_pretrained(args.model, **given)
    pairs = [
        (before, after.unit)
        for before, after in zip(_scorers(wide), _scorers(narrow), strict=True)
        if before is not None and before.rank and not after.rank
    ]
    if pairs:
        calls = calibration_calls(
            wide.config, tokenizer, data, args.calibration_samples, args.max_length, args.stride, args.seed
        )
        for (_, unit), seen in zip(pairs, _watch(wide, [scorer for scorer, _ in pairs], calls), strict=True):
            fit_unit(unit, seen)
    with tempfile.TemporaryDirectory() as folder:
        narrow.save_pretrained(folder)
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
    """What each scorer sees in these calls and says to it, of the tokens that compete: not those of the question."""
    seen = [[] for _ in scorers]

    def keep(found):
        def hook(_, inputs, scores):
            states, present, segment = inputs
            competing = (present & ~segment)[0]
            found.append((states[0, competing].clone(), scores[0, competing].clone()))

        return hook

    handles = [scorer.register_forward_hook(keep(found)) for scorer, found in zip(scorers, seen, strict=True)]
    with torch.inference_mode():
        for features, length_config in calls:
            model(**{name: torch.tensor([ids]) for name, ids in features.items()}, length_config=length_config)
    for handle in handles:
        handle.remove()
    return seen
