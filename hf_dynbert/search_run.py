# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One search: from a model and held-out questions to its budgets, in its configuration, a table and a picture."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer

from .any_runtime import load_any
from .budgets.choice import Budget, keep_budgets, name_budgets
from .budgets.latency import machine_name, measure_latencies
from .budgets.plot import plot_front
from .budgets.space import LengthSpace
from .configuration_dynamic_tinybert import FULL
from .curve import markdown_table
from .folders import replace_files
from .length_config import count_macs, dropping_layers, parse_length_config
from .question_answering.evaluate import SquadSample, run_windows
from .question_answering.squad import load_squad, split_by_article
from .search_arguments import SearchArguments


SPREAD = 8  # constant ratios that are measured beside the front
COLUMNS = ["budget", "length configuration", "F1", "F1 lost", "MACs", "ms", "× full", "dev F1"]

logger = logging.getLogger(__name__)


class Bench:
    """A model with the questions that score it and those that time it.

    Args:
        model: a model for question answering that takes `length_config`.
        tokenizer (`PreTrainedTokenizerFast`): its tokenizer.
        data (`datasets.Dataset`): held-out questions, in random order.
        args ([`SearchArguments`]): how many of them, and what a call is.
    """

    def __init__(self, model, tokenizer, data: Dataset, args: SearchArguments):
        self.model, self.tokenizer, self.args = model, tokenizer, args
        sizes = [*args.screen_samples, args.search_samples]
        self.samples = [
            SquadSample(tokenizer, data.select(range(min(size, len(data)))), args.max_length, args.stride) for size in sizes
        ]
        last = self.samples[-1]
        self.tokens = round(sum(last.lengths) / len(last.lengths))
        places = [index * len(last.order) // args.latency_samples for index in range(args.latency_samples)]
        self.timed = [last.windows[last.order[place]] for place in places]

    def evaluators(self) -> list:
        """A function from a length configuration to F1 and cost, for each sample, the smallest first."""
        return [lambda length_config, sample=sample: self._evaluate(length_config, sample) for sample in self.samples]

    def f1(self, length_config) -> float:
        """F1 on all questions of the search."""
        return self._f1(length_config, self.samples[-1])

    def macs(self, length_config) -> float:
        """Multiply-accumulates, mean over the questions of the search."""
        lengths = self.samples[-1].lengths
        return sum(count_macs(self.model.config, length_config, length) for length in lengths) / len(lengths)

    def latencies(self, length_configs: Sequence, turns: int = 5) -> list[float]:
        """Milliseconds at batch 1, unpadded, mean over the timed questions, all configurations side by side."""

        def call(index: int) -> None:
            for window in self.timed:
                run_windows(self.model, self.tokenizer, [window], length_config=length_configs[index] or FULL)

        return [found / len(self.timed) for found in measure_latencies(call, range(len(length_configs)), turns)]

    def _evaluate(self, length_config, sample: SquadSample) -> tuple[float, float]:
        score = self._f1(length_config, sample)
        if self.args.cost == "macs":
            return score, self.macs(length_config) / self.macs(None)
        full, own = self.latencies([None, length_config], turns=3)
        return score, own / full  # as a part of full length's, timed beside it: whatever disturbs one disturbs both

    def _f1(self, length_config, sample: SquadSample) -> float:
        options = {"batch_size": self.args.batch_size, "latency_samples": 0, "progress": False}
        return sample.evaluate(self.model, length_config or FULL, **options).f1


def run_search(args: SearchArguments) -> Path:
    """Searches, resuming from `args.output_dir`, and puts the budgets that are worth keeping into the model's configuration.

    Args:
        args ([`SearchArguments`]): what to search on, and how.

    Returns:
        `Path`: the folder with the results.

    Raises:
        ValueError: a model that cannot drop tokens, bad data or options; before any work.
        ImportError: Optuna is missing.
    """
    from .budgets.search import search_length_configs  # Optuna comes with the `search` extra; no other verb needs it

    model, tokenizer = load_any(args.model, args.threads), AutoTokenizer.from_pretrained(args.model)
    if not hasattr(model.config, "resolve_length_config"):
        raise ValueError(f"{args.model} is a {type(model).__name__}, which cannot drop tokens: there is nothing to search.")
    space = _space(model.config, args)
    more = [parse_length_config(text) for text in args.length_configs]
    for length_config in more:
        model.config.resolve_length_config(length_config)
    targets = [Path(folder) for folder in args.save_to or [args.model]]
    missing = [str(folder) for folder in targets if not (folder / "config.json").is_file()]
    if missing:
        raise ValueError(f"{', '.join(missing)} is no folder with a model; give save_to, folders that get the budgets.")
    held_out = split_by_article(load_squad(args.train_file or args.dataset_name), args.held_out)[1].shuffle(seed=args.seed)
    bench, output = Bench(model, tokenizer, held_out, args), Path(args.output_dir)
    dev = _dev_sample(tokenizer, args)
    *screens, evaluate = bench.evaluators()
    result = search_length_configs(
        evaluate,
        space,
        args.num_evaluations,
        args.method,
        screens,
        output / "search.journal",
        args.seed,
        start=list(model.config.length_configs.values()),
    )
    everything = space.decode([space.highest] * len(space.layers))  # which the search may try too
    found = [one.length_config for one in result.front if one.length_config != everything]
    full, *found = _measured(bench, [None, *found], "front")
    constant = _measured(bench, [space.decode(space.constant(ratio)) for ratio in _ratios(space)], "constant")
    others = _measured(bench, more, "listed")
    kept = keep_budgets(found, full)
    named = name_budgets(kept, full)
    scores = _dev_scores(model, dev, [full, *kept, *others], args.batch_size)
    budgets = _entries(named, kept, full)
    with replace_files(output) as folder:
        rows = _rows(named, kept, constant, others, full, scores)
        where = f"{full.machine}, {full.runtime}; {full.sample}, {full.tokens} tokens in the mean"
        (folder / "front.md").write_text(f"{where}\n\n{markdown_table(rows, COLUMNS)}\n", encoding="utf-8")
        report = {"budgets": budgets, "constant": [b.entry() for b in constant], "listed": [b.entry() for b in others]}
        report["measured"] = [[one.length_config, one.score, one.cost] for one in result.measured]
        (folder / "front.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        plot_front(kept, full, constant, others, named, folder / "front.png", where)
    for folder in targets:
        save_budgets(folder, budgets)
    return output


def save_budgets(folder: Path, budgets: dict[str, dict]) -> None:
    """Puts measured budgets into a model folder's `config.json`, whole or not at all; budgets of other names stay."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {name: entry for name, entry in (config.get("budgets") or {}).items() if not name.startswith("front-")}
    config["budgets"] = kept | budgets
    with replace_files(folder) as beside:
        (beside / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _space(config, args: SearchArguments) -> LengthSpace:
    layers = dropping_layers(config)
    if args.absolute:
        return LengthSpace.tokens(config.num_hidden_layers, args.max_length, layers)
    return LengthSpace.shares(config.num_hidden_layers, layers)


def _ratios(space: LengthSpace) -> list[float]:
    """Constant drop ratios up to one that leaves little."""
    return [0.9 * index / SPREAD / len(space.layers) ** 0.5 for index in range(1, SPREAD + 1)]


def _measured(bench: Bench, length_configs: list, name: str) -> list[Budget]:
    """Each measured on all questions of the search, and timed side by side."""
    if not length_configs:
        return []
    latencies, model = bench.latencies(length_configs), bench.model
    place = {"machine": machine_name(model.threads), "runtime": model.runtime_name, "tokens": bench.tokens}
    sample = f"{len(bench.samples[-1].data)} held-out questions"
    return [
        Budget(
            FULL if length_config is None else f"{name}-{number}",
            length_config,
            bench.f1(length_config),
            bench.macs(length_config),
            latency,
            sample=sample,
            **place,
        )
        for number, (length_config, latency) in enumerate(zip(length_configs, latencies, strict=True), start=1)
    ]


def _dev_sample(tokenizer, args: SearchArguments) -> SquadSample | None:
    """The dev questions, if there are any."""
    if not args.eval_file:
        return None
    data = load_squad(args.eval_file, split="validation")
    most = min(args.eval_samples or len(data), len(data))
    spread = data.select([index * len(data) // most for index in range(most)])
    return SquadSample(tokenizer, spread, args.max_length, args.stride)


def _dev_scores(model, dev: SquadSample | None, budgets: list[Budget], batch_size: int) -> dict[str, float]:
    """F1 of each on them: once, and nothing is chosen by it."""
    options = {"batch_size": batch_size, "latency_samples": 0}
    return {b.name: dev.evaluate(model, b.length_config or FULL, **options).f1 for b in budgets} if dev else {}


def _entries(named: dict[str, Budget], kept: list[Budget], full: Budget) -> dict[str, dict]:
    """As `config.budgets` has them: the names, the rest of the front, and full length."""
    taken = {id(budget) for budget in named.values()}
    rest = [budget for budget in kept if id(budget) not in taken and budget.length_config is not None]
    return (
        {name: budget.entry() for name, budget in named.items()}
        | {f"front-{number}": budget.entry() for number, budget in enumerate(rest, start=1)}
        | {FULL: full.entry()}
    )


def _rows(named, kept, constant, others, full: Budget, scores: dict[str, float]) -> list[list[str]]:
    names = {id(budget): name for name, budget in reversed(named.items())}
    ordered = [*reversed([budget for budget in kept if budget.length_config is not None]), *constant, *others]
    return [_row(names.get(id(budget), budget.name), budget, full, scores) for budget in [full, *ordered]]


def _row(name: str, budget: Budget, full: Budget, scores: dict[str, float]) -> list[str]:
    entries = budget.length_config or []
    return [
        name,
        ", ".join(str(entry) for entry in entries) or "all tokens",
        f"{budget.f1:.2f}",
        f"{100 * (1 - budget.f1 / full.f1):.1f} %" if full.f1 else "-",
        f"{100 * budget.macs / full.macs:.0f} %",
        f"{budget.latency_ms:.1f}",
        f"{full.latency_ms / budget.latency_ms:.2f}",
        f"{scores[budget.name]:.2f}" if budget.name in scores else "",
    ]
