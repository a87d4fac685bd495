# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A `CrossEncoder` of sentence-transformers with budgets and deadlines."""

import inspect
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from sentence_transformers import CrossEncoder

from .. import loading
from ..tasks.reranking.deadline import DeadlineRanking


FORWARDED = ("budget", "length_config")  # arguments of `predict` that reach the model's call


class DynamicCrossEncoder(CrossEncoder):
    """[`~sentence_transformers.CrossEncoder`] whose `predict` and `rank` take a budget, and whose `rank` keeps a deadline.

    Args:
        model_name_or_path (`str`): folder or Hub id of a length-adaptive reranker, in PyTorch or in OpenVINO.
        backend (`str`, *optional*, defaults to `"torch"`): `"torch"` or `"openvino"`.
        kwargs: arguments of `CrossEncoder`.

    Raises:
        ValueError: the model is not length-adaptive.

    Example:

    ```python
    >>> from hf_dynbert.integrations.sentence_transformers import DynamicCrossEncoder

    >>> ranker = DynamicCrossEncoder("outputs/reranker-int8", backend="openvino")
    >>> ranker.rank("Who keeps the light?", ["It rained.", "Ada keeps the light."], max_latency_ms=80)
    ```
    """

    def __init__(self, model_name_or_path: str, *, backend: str = "torch", **kwargs):
        super().__init__(model_name_or_path, backend=backend, **kwargs)
        if backend == "openvino":  # sentence-transformers loads Optimum's class, which has no budgets
            settings = (kwargs.get("model_kwargs") or {}).get("ov_config") or {}
            self[0].model = loading.load(model_name_or_path, "reranking", ov_config=settings)
        if not hasattr(self.model.config, "resolve_budget"):
            raise ValueError(
                f"{model_name_or_path} is not length-adaptive. Use CrossEncoder, or convert the model first: "
                f"hf-dynbert convert --model {model_name_or_path} --output_dir FOLDER"
            )
        self.module_kwargs = {"0": list(FORWARDED)}
        if self[0].model_forward_params is not None:
            self[0].model_forward_params |= set(FORWARDED)

    def predict(self, inputs, *args, budget=None, **kwargs):
        """Scores pairs as `CrossEncoder.predict` does.

        Args:
            inputs, args, kwargs: as for `CrossEncoder.predict`.
            budget (*optional*): a budget, see [`SubNetwork.parse`]; `None` is the model's default.

        Raises:
            ValueError: an unknown budget.
            TypeError: an unknown argument.
        """
        _refuse_unknown(kwargs, CrossEncoder.predict)
        if budget is not None:
            self.model.config.resolve_budget(budget)  # raises before any work
            kwargs["budget"] = budget
        return super().predict(inputs, *args, **kwargs)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        budget=None,
        max_latency_ms: float | None = None,
        return_report: bool = False,
        **kwargs,
    ) -> list[dict] | tuple[list[dict], dict]:
        """Ranks documents as `CrossEncoder.rank` does, at a budget or within a deadline.

        Args:
            query, documents, top_k, return_documents, kwargs: as for `CrossEncoder.rank`.
            budget (*optional*): a budget, see [`SubNetwork.parse`]; `None` is the model's default.
            max_latency_ms (`float`, *optional*): deadline in milliseconds. All documents are scored at a small budget and
                the best again at larger ones, see [`~hf_dynbert.tasks.reranking.deadline.DeadlineRanking`]. Documents that
                were not scored in time come last, with the score `None`.
            return_report (`bool`, *optional*, defaults to `False`): with `max_latency_ms`, return the stages of the ranking
                too: budgets, documents and milliseconds.

        Returns:
            `list[dict]`: `corpus_id`, `score`, `text` with `return_documents`, and `budget` with `max_latency_ms`; and the
            report, if asked for.

        Raises:
            ValueError: an unknown budget, a model with several labels, or arguments that exclude each other.
            TypeError: an unknown argument.
        """
        _refuse_unknown(kwargs, CrossEncoder.rank)
        if max_latency_ms is None:
            if return_report:
                raise ValueError("return_report describes a ranking within a deadline; give max_latency_ms too.")
            return self._rank_at(query, documents, top_k, return_documents, budget, kwargs)
        given = {"budget": budget, **kwargs}
        free = ("batch_size", "activation_fn")
        decided = [name for name, value in given.items() if value is not None and name not in free]
        if decided:
            raise ValueError(
                f"max_latency_ms decides the budgets and the calls of a ranking; leave {', '.join(decided)} out."
            )
        return self._rank_within(query, documents, top_k, return_documents, max_latency_ms, return_report, **kwargs)

    def _rank_at(self, query, documents, top_k, return_documents, budget, kwargs) -> list[dict]:
        """The ranking at one budget."""
        if self.num_labels != 1:
            raise ValueError("rank needs a model with one label; use predict with pairs.")
        scores = self.predict(
            [[query, text] for text in documents], budget=budget, convert_to_tensor=True, **kwargs
        ).tolist()
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [_result(index, scores[index], documents, return_documents) for index in order[:top_k]]

    def _rank_within(
        self, query, documents, top_k, return_documents, max_latency_ms, return_report, activation_fn=None, **sizes
    ):
        """The ranking within a deadline."""
        begin = time.perf_counter()
        features = self.preprocess([[query, text] for text in documents])
        lengths = features["attention_mask"].sum(dim=1).tolist()
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
        inputs = [
            {name: features[name][row][:length].tolist() for name in names} for row, length in enumerate(lengths)
        ]  # without padding
        ranked = DeadlineRanking(self.model, self.tokenizer, inputs, max_latency_ms, begin, **sizes)
        function = activation_fn or self.activation_fn
        scores = {index: function(torch.tensor([score])).item() for index, score in ranked.scores.items()}
        ranking = [
            _result(index, scores.get(index), documents, return_documents) | {"budget": ranked.budgets.get(index)}
            for index in ranked.order[:top_k]
        ]
        return (ranking, asdict(ranked.report)) if return_report else ranking


def _result(index: int, score: float | None, documents: Sequence[str], with_text: bool) -> dict:
    return {"corpus_id": index, "score": score} | ({"text": documents[index]} if with_text else {})


def _refuse_unknown(kwargs: dict, function) -> None:
    """Refuses arguments that sentence-transformers would ignore."""
    known = inspect.signature(inspect.unwrap(function)).parameters
    for name in kwargs:
        if name not in known:
            raise TypeError(f"Unknown argument {name}. Valid are budget, max_latency_ms (rank) and {', '.join(known)}.")
