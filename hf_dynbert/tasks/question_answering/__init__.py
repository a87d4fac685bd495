# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Extractive question answering for any span model of transformers or Optimum, ours or not."""

from .decoding import Answer, decode_answers
from .evaluate import SquadEvaluation, evaluate_squad
from .features import Window, encode_windows, training_features
from .metrics import squad_metrics
from .pipeline import ExtractiveQAPipeline
from .squad import load_squad, split_by_article


__all__ = [
    "Answer",
    "ExtractiveQAPipeline",
    "SquadEvaluation",
    "Window",
    "decode_answers",
    "encode_windows",
    "evaluate_squad",
    "load_squad",
    "split_by_article",
    "squad_metrics",
    "training_features",
]
