# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The task `"text-reranking"`: a pipeline that orders the passages of a query by relevance, at any budget."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from transformers import Pipeline

from ...utils.errors import check_number
from ..inference import run_sorted
from ..pipelines import (
    LIMITS,
    TOKENIZING,
    Stream,
    budget_of_call,
    check_batching,
    check_count,
    check_flag,
    check_options,
    most_tokens,
    own_tokenizer,
)
from . import deadline
from .scores import MAX_LENGTH, check_labels, encode_pairs, relevance_score


USAGE = 'Call it as rank(query="Who wrote it?", passages=["Ada wrote it.", "It rained."]).'
OPTIONS = ("budget", "length_config", *LIMITS, "top_k", "max_length", "passages_per_call", "return_report")
BATCH_SIZE = 32  # as in `CrossEncoder.predict`


@dataclass
class Pairs:
    """The passages of one query, the inputs of the model, one for each passage, and the time at which work began."""

    passages: Sequence[str]
    inputs: list[dict[str, list[int]]]
    begin: float


class TextRerankingPipeline(Pipeline):
    """Orders passages by their relevance to a query, with any classifier of pairs that has one label or two.

    Threads can share a pipeline. Options may be given to `pipeline(...)`, as defaults, and to each call.

    Args:
        query (`str`): the query.
        passages (`list[str]`): its passages.
        budget, length_config (*optional*): what a length-adaptive model computes, see [`DynamicTinyBertConfig`].
        max_latency_ms (`float`, *optional*): deadline for the ranking of a query, in milliseconds. All passages are scored
            at a small budget and the best again at larger ones, as the machine allows; see
            [`~hf_dynbert.tasks.reranking.deadline.DeadlineRanking`]. `batch_size` is then 8.
        max_macs, min_score, speedup, max_loss, tokens, nearest (*optional*): select a budget, see `model.choose_budget`.
        return_report (`bool`, *optional*, defaults to `False`): with `max_latency_ms`, return a dict with `ranking` and
            `report`: stages with their budgets, passages and milliseconds.
        top_k (`int`, *optional*): passages to return; all by default.
        max_length (`int`, *optional*): most tokens of a query with a passage, whose end is cut; 256, or the most that the
            model reads.
        batch_size (`int`, *optional*, defaults to 32): passages of a call of the model, which are sorted by length.

    Instead of `query` and `passages`, the first argument can be a dict with both, a list of such dicts, or a data set or
    generator of them, which is read while results are used.

    Returns:
        `list[dict]`, the most relevant passage first: `index` in `passages`, `score` and `text`. The score is the logit of
        the one label, or that of the second label minus that of the first. With `max_latency_ms` there is `budget` too, the
        one that the score comes from; passages that were not scored in time come last, with `None` for both. Several queries
        give a list of such lists. A data set or a generator gives an iterator.

    Raises:
        ValueError: inputs or options that are not valid, or a budget on a model without budgets.
        TypeError: an unknown option.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_dynbert

    >>> rank = pipeline("text-reranking", model="outputs/reranker")
    >>> rank(query="Who keeps the light?", passages=["It rained.", "Ada keeps the light."], budget="half")
    ```
    """

    default_input_names = "query,passages"
    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False

    def __init__(self, model, tokenizer=None, batch_size=None, num_workers=None, **kwargs):
        name = model.config.name_or_path or type(model).__name__
        if not type(model).__name__.endswith("ForSequenceClassification"):
            raise ValueError(f"{name} is a {type(model).__name__}; a reranker is a classifier of pairs.")
        if tokenizer is None:
            raise ValueError('A pipeline needs a tokenizer: pipeline("text-reranking", model=model, tokenizer=tokenizer).')
        check_labels(model.config.num_labels)
        check_batching(batch_size, num_workers)
        tokenizer, sizes = own_tokenizer(tokenizer, name), {"num_workers": num_workers, "passages_per_call": batch_size}
        super().__init__(model=model, tokenizer=tokenizer, **sizes, **kwargs)

    def _sanitize_parameters(
        self,
        budget=None,
        length_config=None,
        top_k=None,
        max_length=None,
        passages_per_call=None,
        return_report=None,
        **others,
    ):
        check_options(others, OPTIONS)
        check_count("top_k", top_k)
        check_count("max_length", max_length, most=most_tokens(self))
        check_flag("return_report", return_report)
        max_latency_ms, forward = others.pop("max_latency_ms", None), {}
        if max_latency_ms is not None:
            check_number("max_latency_ms", max_latency_ms, above=0, example=100)
            _refuse_beside_deadline(self.model, budget=budget, length_config=length_config, **others)
            forward = {"max_latency_ms": max_latency_ms, "budget": None}  # `None` replaces a default of the pipeline
        elif chosen := budget_of_call(self.model, budget, length_config, others):
            forward = {"max_latency_ms": None, **chosen}
        if passages_per_call is not None:
            forward["batch_size"] = passages_per_call
        preprocess = {} if max_length is None else {"max_length": max_length}
        postprocess = {"top_k": top_k, "return_report": return_report}
        return preprocess, forward, {name: value for name, value in postprocess.items() if value is not None}

    def __call__(self, *args, query=None, passages=None, batch_size=None, num_workers=None, **options):
        """Orders passages; see the class."""
        check_batching(batch_size, num_workers)
        options["passages_per_call"] = batch_size  # `batch_size` of a pipeline counts queries
        inputs = _read_call(args, query, passages)
        self._sanitize_parameters(**options)  # raises before any query is read
        if options.get("return_report") and not options.get("max_latency_ms", self._forward_params.get("max_latency_ms")):
            raise ValueError("return_report describes a ranking within a deadline; give max_latency_ms too.")
        if inputs == []:
            return []
        return super().__call__(inputs, num_workers=num_workers, **options)

    def preprocess(self, inputs, max_length=None):
        """The query with each of its passages."""
        begin = time.perf_counter()
        max_length = max_length or min(MAX_LENGTH, most_tokens(self))
        with TOKENIZING:
            pairs = encode_pairs(self.tokenizer, [inputs["query"]], [inputs["passages"]], max_length)
        return {"pairs": Pairs(inputs["passages"], pairs, begin)}

    def _forward(self, inputs, batch_size=None, max_latency_ms=None, budget=None):
        pairs = inputs["pairs"]
        if max_latency_ms is not None:
            size = batch_size or deadline.BATCH_SIZE
            ranked = deadline.DeadlineRanking(self.model, self.tokenizer, pairs.inputs, max_latency_ms, pairs.begin, size)
            return {"pairs": pairs, "ranked": ranked}
        call = {} if budget is None else {"budget": budget}
        outputs = run_sorted(self.model, self.tokenizer, pairs.inputs, batch_size or BATCH_SIZE, **call)
        return {"pairs": pairs, "scores": [relevance_score(output["logits"]) for output in outputs]}

    def postprocess(self, outputs, top_k=None, return_report=False):
        """The passages by their scores; of equal scores, the earlier passage first."""
        passages = outputs["pairs"].passages
        if "ranked" in outputs:
            ranked = outputs["ranked"]
            ranking = [
                {
                    "index": index,
                    "score": ranked.scores.get(index),
                    "text": passages[index],
                    "budget": ranked.budgets.get(index),
                }
                for index in ranked.order[:top_k]
            ]
            return {"ranking": ranking, "report": asdict(ranked.report)} if return_report else ranking
        scores = outputs["scores"]
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return [{"index": index, "score": scores[index], "text": passages[index]} for index in order[:top_k]]


def _refuse_beside_deadline(model, **options) -> None:
    """Refuses what a deadline decides, and models without budgets."""
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"max_latency_ms chooses the budgets of a ranking itself; leave {', '.join(given)} out.")
    if not hasattr(model, "choose_budget"):
        raise ValueError(f"{type(model).__name__} has no budgets to rank with; give a length-adaptive model.")


def _read_call(args: tuple, query, passages) -> dict | list[dict] | Stream:
    """The query with its passages, or several of them."""
    named = query is not None or passages is not None
    if len(args) > 2 or (args and named):
        raise ValueError(f"Got queries or passages both by position and by name, or too many. {USAGE}")
    if named or len(args) == 2:
        query, passages = args if args else (query, passages)
        return _read({"query": query, "passages": passages})
    items = args[0] if args else None
    if isinstance(items, Mapping):
        return _read(items)
    if isinstance(items, list | tuple):
        return [_read(item, index) for index, item in enumerate(items)]
    if isinstance(items, str) or not (isinstance(items, Iterable) or hasattr(items, "__getitem__")):
        raise ValueError(f"Got {items!r:.60}. {USAGE}")
    return Stream(items, _read)


def _read(item, index: int | None = None) -> dict:
    """A query with its passages, checked."""
    place = "" if index is None else f"Item {index}: "
    if not isinstance(item, Mapping):
        raise ValueError(f"{place}got {item!r:.60}, which is no dict with query and passages. {USAGE}")
    check_options(item, ("query", "passages", "id"))
    query, passages = item.get("query"), item.get("passages")
    several = isinstance(passages, Iterable) and not isinstance(passages, str | Mapping)
    if not several:
        raise ValueError(f"{place}passages is {passages!r:.60}; it must be a list of texts. {USAGE}")
    passages = list(passages)
    for name, text in [("query", query), *(("passage", passage) for passage in passages)]:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{place}The {name} is {text!r:.60}; it must be a text that is not empty. {USAGE}")
    if not passages:
        raise ValueError(f"{place}passages is empty; there must be one at least. {USAGE}")
    return {"query": query, "passages": passages}
