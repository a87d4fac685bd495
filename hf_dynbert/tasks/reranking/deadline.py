# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Ranking within a deadline: all passages at a small budget, the best of them again at larger budgets."""

import logging
import math
import statistics
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from ...budgets.model_budgets import count_macs, named_budgets
from ..inference import evaluation_mode, run_batch
from .scores import MAX_LENGTH, relevance_score


BATCH_SIZE = 8  # passages of a call. The time is checked between calls: smaller ones are slower, larger ones overrun
MARGIN = 0.9  # of the deadline is used; the rest is for a last call that takes longer than predicted
BEST = 20  # passages that are scored again at least, so that the first ten places are decided by the larger budget
WIDTH = 16  # tokens: OpenVINO models are padded to a multiple, since kernels are compiled for each length
CALLS = 3  # timed calls of a shape, after the one that compiles it
TOKENS = 128  # for which budgets are ordered by their operations

logger = logging.getLogger(__name__)
_known_models = weakref.WeakKeyDictionary()  # model -> milliseconds by (sub-network, batch size, tokens)
_lock = threading.Lock()  # one thread times a model, the others wait


@dataclass(frozen=True)
class Stage:
    """One pass over passages.

    Args:
        budget (`str`): name of the budget.
        planned, scored (`int`): passages that were to be scored, and that were scored.
        milliseconds (`float`): time of the pass.
    """

    budget: str
    planned: int
    scored: int
    milliseconds: float


@dataclass(frozen=True)
class DeadlineReport:
    """What a ranking within a deadline did.

    Args:
        max_latency_ms (`float`): the deadline.
        milliseconds (`float`): time from the beginning of the call to the ranking.
        stages (`list[Stage]`): the passes in their order.
        not_scored (`int`): passages for which the time was too short. They follow after all others, in the given order.
    """

    max_latency_ms: float
    milliseconds: float
    stages: list[Stage]
    not_scored: int

    @property
    def in_time(self) -> bool:
        """Whether the deadline was kept."""
        return self.milliseconds <= self.max_latency_ms


class DeadlineRanking:
    """Ranks the passages of one query with the named budgets of one model until a deadline.

    The first ranking of a process times a call of each budget at each length to 256 tokens, which takes seconds and does not
    count: the plan is made from these times. Every call is compared with its time, so that the plan of a busy machine
    shrinks, and no call begins that would end after the deadline.

    Args:
        model: a length-adaptive model.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model, for padding.
        inputs (`list[dict[str, list[int]]]`): the query with each passage, without padding.
        max_latency_ms (`float`): the deadline, counted from `begin`.
        begin (`float`): `time.perf_counter()` at the beginning of the caller's work.
        batch_size (`int`, *optional*, defaults to 8): passages of a call of the model.

    Attributes:
        scores (`dict[int, float]`), budgets (`dict[int, str]`): last score and its budget by index of the passage.
        order (`list[int]`): indices of all passages, the most relevant first.
        report ([`DeadlineReport`]): what was done.
    """

    def __init__(
        self, model, tokenizer, inputs: Sequence[dict], max_latency_ms: float, begin: float, batch_size: int = BATCH_SIZE
    ):
        self.model, self.tokenizer, self.inputs, self.batch_size = model, tokenizer, inputs, batch_size
        self.lengths = [len(item["input_ids"]) for item in inputs]
        self.limit, self.slowdown = max_latency_ms, 1.0
        self.scores: dict[int, float] = {}
        self.budgets: dict[int, str] = {}
        config = model.config
        names = sorted(named_budgets(config), key=lambda name: count_macs(config, config.resolve_budget(name), TOKENS))
        self.order, stages = list(range(len(inputs))), []
        with evaluation_mode(model):
            start = time.perf_counter()
            self.times = call_times(model, tokenizer, inputs[0], names, batch_size, max(self.lengths))
            self.begin = begin + time.perf_counter() - start
            chosen = self._first_stage(names)
            while chosen is not None:
                budget, indices = chosen
                stages.append(self._run(budget, indices))
                self._sort(indices)
                chosen = self._next_stage(names[names.index(budget) + 1 :])
        self.report = DeadlineReport(max_latency_ms, self._elapsed(), stages, len(inputs) - len(self.scores))

    def _elapsed(self) -> float:
        return 1000 * (time.perf_counter() - self.begin)

    def _left(self) -> float:
        """Milliseconds that calls may still use."""
        return MARGIN * self.limit - self._elapsed()

    def _first_stage(self, names: list[str]) -> tuple[str, list[int]]:
        """All passages at the largest budget, if the time allows; else at the smallest, or as many as the time allows."""
        everything = list(range(len(self.inputs)))
        if self._cost(names[-1], everything) <= self._left():
            return names[-1], everything
        return names[0], self._affordable(names[0], everything) or everything[:1]

    def _next_stage(self, names: list[str]) -> tuple[str, list[int]] | None:
        """The best passages at the largest budget that allows enough of them; `None` if none does."""
        if len(self.scores) < len(self.inputs):
            return None
        enough = min(BEST, len(self.inputs))
        for budget in reversed(names):
            best = self._affordable(budget, self.order)
            if len(best) >= enough:
                return budget, best
        return None

    def _affordable(self, budget: str, indices: list[int]) -> list[int]:
        """The first of these passages, as many as the time allows."""
        few, many, left = 0, len(indices), self._left()
        while few < many:  # bisection: costs grow with the number of passages
            middle = (few + many + 1) // 2
            if self._cost(budget, indices[:middle]) <= left:
                few = middle
            else:
                many = middle - 1
        return indices[:few]

    def _batches(self, indices: list[int]) -> list[list[int]]:
        """Batches of passages of similar lengths. Passages below `min_tokens_to_drop` have batches of their own.

        An OpenVINO model splits a mixed batch into two calls, whose shapes were not timed.
        """
        least, size, batches = self.model.config.min_tokens_to_drop, self.batch_size, []
        by_length = sorted(indices, key=lambda index: self.lengths[index])
        for part in (
            [index for index in by_length if self.lengths[index] < least],
            [index for index in by_length if self.lengths[index] >= least],
        ):
            batches += [part[first : first + size] for first in range(0, len(part), size)]
        return batches

    def _cost(self, budget: str, indices: list[int]) -> float:
        """Predicted milliseconds of scoring these passages, at the speed of the calls so far."""
        return sum(self._batch_cost(budget, batch) for batch in self._batches(indices))

    def _batch_cost(self, budget: str, batch: list[int]) -> float:
        width = _width(self.lengths[batch[-1]], self.model.config.max_tokens)
        return self.slowdown * self.times[budget, width]

    def _run(self, budget: str, indices: list[int]) -> Stage:
        """Scores passages until all have a score, or the next call would end after the deadline."""
        begin, scored = self._elapsed(), 0
        for batch in self._batches(indices):
            predicted, before = self._batch_cost(budget, batch), self._elapsed()
            if self.scores and predicted > self._left():
                break
            inputs = [self.inputs[index] for index in batch]
            rows = _call(self.model, self.tokenizer, inputs, budget, self.batch_size)
            for index, row in zip(batch, rows, strict=True):
                self.scores[index], self.budgets[index] = relevance_score(row["logits"]), budget
            scored += len(batch)
            self.slowdown = max(1.0, self.slowdown * (self._elapsed() - before) / predicted)
        return Stage(budget, len(indices), scored, self._elapsed() - begin)

    def _sort(self, indices: list[int]) -> None:
        """Orders the passages of the last stage by their scores, before all others."""
        chosen = set(indices)
        scored = sorted((index for index in indices if index in self.scores), key=lambda index: (-self.scores[index], index))
        missed = [index for index in indices if index not in self.scores]
        self.order = scored + missed + [index for index in self.order if index not in chosen]


def call_times(
    model, tokenizer, example: dict, budgets: Sequence[str], batch_size: int, longest: int
) -> dict[tuple[str, int], float]:
    """Milliseconds of a call by budget and tokens, to 256 tokens or to `longest`; each shape is timed once in a process.

    Args:
        model, tokenizer: model in evaluation mode, and its tokenizer.
        example (`dict[str, list[int]]`): an input of the model, for its names.
        budgets (`list[str]`): names of budgets.
        batch_size (`int`): passages of a call.
        longest (`int`): tokens of the longest passage.
    """
    config, known = model.config, _known_models.setdefault(model, {})
    keys = {budget: (str(config.resolve_budget(budget)), config.min_tokens_to_drop, batch_size) for budget in budgets}
    most = _width(max(longest, MAX_LENGTH), config.max_tokens)
    widths = sorted({_width(tokens, config.max_tokens) for tokens in range(WIDTH, most + WIDTH, WIDTH)})
    with _lock:
        missing = [(budget, width) for width in widths for budget in budgets if (*keys[budget], width) not in known]
        start = time.perf_counter()
        for budget, width in missing:
            ids = [tokenizer.cls_token_id or 0, *[tokenizer.sep_token_id or 0] * (width - 1)]
            others = {"attention_mask": [1] * width, "token_type_ids": [0] * (width // 4) + [1] * (width - width // 4)}
            inputs = [{name: others.get(name, ids) for name in example}] * batch_size
            known[*keys[budget], width] = _time(model, tokenizer, inputs, budget)
        seconds = time.perf_counter() - start
    if missing:
        logger.warning(f"Timed {len(budgets)} budgets at {len(widths)} lengths for deadlines, in {seconds:.1f} seconds.")
    return {(budget, width): known[*keys[budget], width] for width in widths for budget in budgets}


def _time(model, tokenizer, inputs: list[dict], budget: str) -> float:
    """Median milliseconds of a call of this shape, after the one that compiles it."""
    times = []
    for _ in range(1 + CALLS):
        start = time.perf_counter()
        _call(model, tokenizer, inputs, budget, len(inputs))
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def _call(model, tokenizer, inputs: list[dict], budget: str, batch_size: int) -> list[dict]:
    """Outputs of some inputs, in a call of the full batch size: copies fill the batch."""
    filled = inputs + inputs[-1:] * (batch_size - len(inputs))
    return run_batch(model, tokenizer, filled, budget=budget)[: len(inputs)]


def _width(tokens: int, most: int) -> int:
    """Tokens of a call for an input with this many tokens."""
    return min(most, WIDTH * math.ceil(tokens / WIDTH))
