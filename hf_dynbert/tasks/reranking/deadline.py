# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Ranking within a deadline: all passages at a small budget, the best of them again at larger budgets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...budgets.choosing import measured_latencies
from ..inference import evaluation_mode, run_batch
from .scores import relevance_score


BATCH_SIZE = 8  # passages of a call. The time is checked between calls: smaller ones are slower, larger ones overrun
MARGIN = 0.9  # of the deadline is planned: calls vary by some percent even on a quiet machine
BEST = 20  # passages that are scored again at least, so that the first ten places are decided by the larger budget
WIDTH = 16  # tokens: latencies of lengths within such a step are taken to be equal


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
    """Ranks the passages of one query with the budgets of one model until a deadline.

    The plan comes from this machine's measured latencies of budgets, see `choose_budget`. The first ranking on a machine
    measures them, for some seconds that do not count. Every call is compared with its prediction, so that the plan of a busy
    machine shrinks, and no call begins that would end after the deadline.

    Args:
        model: a length-adaptive model with measured budgets.
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
        self.batch_size = batch_size
        self.model, self.tokenizer, self.inputs = model, tokenizer, inputs
        self.lengths = [len(item["input_ids"]) for item in inputs]
        self.begin, self.limit, self.slowdown = begin, max_latency_ms, 1.0
        self.scores: dict[int, float] = {}
        self.budgets: dict[int, str] = {}
        start = time.perf_counter()
        for width in sorted({self._width(length) for length in self.lengths}):
            latencies = measured_latencies(model, width, batch_size)
        self.begin += time.perf_counter() - start  # on a new machine the budgets are timed first, which takes seconds
        names = list(latencies)
        self.order, stages = list(range(len(inputs))), []
        with evaluation_mode(model):
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
        """Milliseconds that a plan may use."""
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
        """Passages of similar lengths."""
        size = self.batch_size
        by_length = sorted(indices, key=lambda index: self.lengths[index])
        return [by_length[first : first + size] for first in range(0, len(by_length), size)]

    def _cost(self, budget: str, indices: list[int]) -> float:
        """Predicted milliseconds of scoring these passages, at the speed that this call has seen so far."""
        return sum(self._batch_cost(budget, batch) for batch in self._batches(indices))

    def _batch_cost(self, budget: str, batch: list[int]) -> float:
        tokens = self._width(max(self.lengths[index] for index in batch))
        return self.slowdown * measured_latencies(self.model, tokens, len(batch))[budget]

    def _width(self, tokens: int) -> int:
        return min(self.model.config.max_tokens, -(-tokens // WIDTH) * WIDTH)

    def _run(self, budget: str, indices: list[int]) -> Stage:
        """Scores passages until all have a score, or the next call would end after the deadline."""
        begin, scored = self._elapsed(), 0
        for batch in self._batches(indices):
            predicted, before = self._batch_cost(budget, batch), self._elapsed()
            if self.scores and before + predicted > self.limit:
                break
            rows = run_batch(self.model, self.tokenizer, [self.inputs[index] for index in batch], budget=budget)
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
