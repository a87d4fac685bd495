# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One search: from a model and held-out questions to its budgets, in its configuration, a table and a picture."""

import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from ...configuration_dynamic_tinybert import FULL
from ...hub.model_card import write_card
from ...hub.records import TRAINING
from ...loading import load_any
from ...subnetwork import count_macs, dropping_layers
from ...tasks.question_answering.evaluate import QuestionAnsweringEvaluator
from ...tasks.question_answering.features import check_max_length
from ...tasks.question_answering.inference import run_windows
from ...tasks.question_answering.squad import load_squad, split_by_article, spread_over
from ...utils.atomic_files import one_at_a_time, replace_files
from ...utils.folder_config import load_config
from ...utils.tables import markdown_table
from ..budget import NAMED_LOSSES, Budget, keep_budgets, name_budgets, standard_error
from ..choosing import runtime_name, threads_of
from ..latency import machine_name, measure_latencies
from ..sampling import MIN_SHARE, parse_length_config
from .arguments import SearchArguments
from .pareto import cost_at
from .plot import plot_front
from .space import LengthSpace


JOURNAL, REPORTING = "search.journal", "report.lock"
SPREAD = 8  # constant ratios that are measured beside the front
# Standard errors by which a name must hold on questions of training: 95 % sure. They are many, so what dropping loses shows,
# but they flatter: on held-out ones the name must hold too, if only in the mean
SURE = 1.645
TURNS = 12  # of the last measurement, two timed calls each: what is told of latency rests on it
LOSSES = (0.002, 0.01, 0.02, 0.03)  # parts of full length's F1, at which what was found is compared with constant ratios
COMPARED = [
    "F1 lost",
    "found: ms, of full",
    "constant ratios: ms",
    "found ÷ constant",
    "found: MACs",
    "constant ratios: MACs",
]
COLUMNS = ["budget", "length configuration", "F1", "F1 lost", "MACs", "ms", "× full", "dev F1"]
PICTURE = "front.png"
# What a search may change, and names
NOT_SEARCHED = ("budgets", "length_config", "transformers_version", "_name_or_path", "auto_map")

logger = logging.getLogger(__name__)


class Bench:
    """A model with the questions that score it and those that time it.

    Args:
        model: a model for question answering that takes `length_config`.
        tokenizer (`PreTrainedTokenizerFast`): its tokenizer.
        data (`datasets.Dataset`): held-out questions, in random order: those of the search, then those that confirm it.
        trained (`datasets.Dataset`): questions of training, in random order.
        args ([`SearchArguments`]): how many of them, and what a call is.

    Raises:
        ValueError: no question is left to confirm what is found.
    """

    def __init__(self, model, tokenizer, data: Dataset, trained: Dataset, args: SearchArguments):
        self.model, self.tokenizer, self.args = model, tokenizer, args
        if len(data) <= args.search_samples:
            raise ValueError(
                f"{len(data)} questions are held out; search_samples={args.search_samples} leaves none that the search has "
                "not seen, to confirm what it finds. Use fewer, or hold out more (held_out, in training and here)."
            )
        encode = [tokenizer, args]
        sizes = [*args.screen_samples, args.search_samples]
        self.samples = [_sample(data.select(range(size)), *encode) for size in sizes]
        self.rest = data.select(range(args.search_samples, min(len(data), args.search_samples + args.confirm_samples)))
        self.confirming = _sample(self.rest, *encode)
        self.trained = _sample(trained.select(range(min(len(trained), args.trained_samples))), *encode)
        self.tokens = round(sum(self.confirming.lengths) / len(self.confirming.lengths))
        self.timed = _spread_windows(self.confirming, args.latency_samples)

    def evaluators(self) -> list:
        """A function from a length configuration to F1 and cost, for each sample of the search, the smallest first."""
        return [lambda length_config, sample=sample: self._evaluate(length_config, sample) for sample in self.samples]

    def least_scores(self) -> list[float]:
        """The least F1 that is of interest, for each sample of the search."""
        return [(1 - self.args.max_loss) * _mean(self._f1s(None, sample)) for sample in self.samples]

    def f1s(self, length_config) -> list[float]:
        """F1 of each question that the search has not seen."""
        return self._f1s(length_config, self.confirming)

    @functools.cache  # noqa: B019 (a bench lives as long as its search)
    def kept(self, length_config: tuple) -> float:
        """The part of full length's F1 that is sure to be left, by questions of training, see `SURE`.

        Points of F1 that are lost there, of full length's F1 on held-out questions: an answer that changes is one on both,
        but of what it was trained on full length knows more, and the same points would be a smaller part of that.
        """
        full, held_out = self._full
        own = self._f1s(length_config, self.trained)
        lost = _mean(full) - _mean(own) + SURE * standard_error(own, full)
        return 1 - lost / held_out if held_out else 1.0

    @functools.cached_property
    def _full(self) -> tuple[list[float], float]:
        """Full length's F1 of each question of training, and of all held-out ones."""
        return self._f1s(None, self.trained), _mean(self.f1s(None))

    def macs(self, length_config) -> float:
        """Multiply-accumulates, mean over the same."""
        lengths = self.confirming.lengths
        return sum(count_macs(self.model.config, length_config, length) for length in lengths) / len(lengths)

    def latencies(self, length_configs: Sequence, turns: int = 5, others: Sequence["Other"] = ()) -> list[float]:
        """Milliseconds at batch 1, unpadded, mean over the timed questions: all configurations, and other models, side by
        side.
        """
        own = [(self.model, self.tokenizer, self.timed, {"length_config": one or FULL}) for one in length_configs]
        calls = own + [(other.model, other.tokenizer, other.timed, other.call) for other in others]

        def call(index: int) -> None:
            model, tokenizer, windows, how = calls[index]
            for window in windows:
                run_windows(model, tokenizer, [window], **how)

        return [found / len(self.timed) for found in measure_latencies(call, range(len(calls)), turns)]

    def _evaluate(self, length_config, sample: QuestionAnsweringEvaluator) -> tuple[float, float]:
        score = _mean(self._f1s(length_config, sample))
        if self.args.cost == "macs":
            return score, self.macs(length_config) / self.macs(None)
        full, own = self.latencies([None, length_config], turns=3)
        return score, own / full  # as a part of full length's, timed beside it: whatever disturbs one disturbs both

    def _f1s(self, length_config, sample: QuestionAnsweringEvaluator) -> list[float]:
        return sample.per_example(self.model, length_config or FULL).tolist()


class Other:
    """Another model, plain ones too, to place beside what is found.

    Args:
        named (`str`): folder or Hub id, and, of a model that can drop tokens, `@` and a length configuration.
        rest (`datasets.Dataset`): the questions that confirm.
        args ([`SearchArguments`]): how they are cut, and how many are timed.

    Raises:
        ValueError: a length configuration that the model cannot run.
    """

    def __init__(self, named: str, rest: Dataset, args: SearchArguments):
        place, at, told = named.partition("@")
        self.model, self.tokenizer = load_any(place, args.threads), AutoTokenizer.from_pretrained(place)
        self.name = Path(place).resolve().name + at + told
        check_max_length(self.model.config, args.max_length)
        can_drop = hasattr(self.model.config, "resolve_length_config")
        if at and not can_drop:
            raise ValueError(
                f"beside: {place} is a {type(self.model).__name__}, which cannot drop tokens; leave @{told} out."
            )
        wanted = parse_length_config(told) if at else FULL
        self.length_config = self.model.config.resolve_length_config(wanted) if can_drop else None
        self.call = {"length_config": self.length_config or FULL} if can_drop else {}
        self.sample = _sample(rest, self.tokenizer, args)
        self.timed = _spread_windows(self.sample, args.latency_samples)

    def f1(self, sample: QuestionAnsweringEvaluator, batch_size: int) -> float:
        """F1 on some questions."""
        return sample(self.model, self.call.get("length_config"))["f1"]

    def macs(self) -> float:
        """Multiply-accumulates, mean over the confirming questions."""
        found = [count_macs(self.model.config, self.length_config, length) for length in self.sample.lengths]
        return sum(found) / len(found)


def run_search(args: SearchArguments) -> Path | None:
    """Searches, resuming from `args.output_dir`, and puts the budgets that are worth keeping into configurations.

    Args:
        args ([`SearchArguments`]): what to search on, and how.

    Returns:
        `Path` or `None`: the folder with the results; `None` where other processes still work on the same search, the last
        of which writes these.

    Raises:
        ValueError: a model that cannot drop tokens, folders whose models cannot have its budgets, bad data or options;
            before any work.
        ImportError: Optuna or matplotlib is missing.
    """
    import matplotlib  # noqa: F401 (both come with the `search` extra, and no other verb needs them: missed before any work)

    from .optuna_search import others_at_work, search_length_configs

    model, tokenizer = load_any(args.model, args.threads), AutoTokenizer.from_pretrained(args.model)
    if not hasattr(model.config, "resolve_length_config"):
        raise ValueError(f"{args.model} is a {type(model).__name__}, which cannot drop tokens: there is nothing to search.")
    check_max_length(model.config, args.max_length)
    targets = {Path(folder): _target_config(Path(folder), model.config) for folder in args.save_to or [args.model]}
    space = _space(model.config, set.intersection(*(set(dropping_layers(config)) for config in targets.values())), args)
    more = [model.config.resolve_length_config(parse_length_config(text)) for text in args.length_configs]
    _check_held_out(args)
    data = load_squad(args.train_file or args.dataset_name)
    trained, held_out = (part.shuffle(seed=args.seed) for part in split_by_article(data, args.held_out))
    bench = Bench(model, tokenizer, held_out, trained, args)
    others = [Other(named, bench.rest, args) for named in args.beside]
    output, dev = Path(args.output_dir), _dev_data(args)
    *screens, evaluate = bench.evaluators()
    result = search_length_configs(
        evaluate,
        space,
        args.num_evaluations,
        args.method,
        screens,
        output / JOURNAL,
        args.seed,
        start=list(model.config.length_configs.values()),
        settings=_settings(bench, args),
        least_scores=bench.least_scores(),
    )
    if others_at_work(output / JOURNAL):
        return None
    with one_at_a_time(output / REPORTING) as mine:
        if mine is None:  # two finished together
            return None
        _write(output, _report(bench, result, space, more, others, dev), bench, result, targets)
    return output


def _write(output: Path, report: "Report", bench: Bench, result, targets: dict) -> None:
    """The results, and the budgets into every target."""
    where = f"{report.full.machine}, {report.full.runtime}; {report.full.sample}, {bench.tokens} tokens in the mean"
    with replace_files(output) as folder:
        tables = [markdown_table(COLUMNS, report.rows()), markdown_table(COMPARED, report.comparison(lambda one: one.f1))]
        if report.scores:
            tables += ["On dev:", markdown_table(COMPARED, report.comparison(lambda one: report.scores[one.name]))]
        (folder / "front.md").write_text("\n\n".join([where, *tables]) + "\n", encoding="utf-8")
        found = {"budgets": report.entries(), "constant": _listed(report.constant), "listed": _listed(report.listed)}
        found["measured"] = [[one.length_config, one.score, one.cost] for one in result.measured]
        found["confirmed"] = _listed(report.found)
        found["sure"] = report.sure
        found["dev_f1"] = report.scores
        (folder / "front.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        plot_front(report.kept, report.full, report.constant, report.listed, report.named, folder / PICTURE, where)
    for folder in targets:
        save_budgets(folder, report.entries())
        if folder.resolve() != output.resolve():
            shutil.copy(output / PICTURE, folder / PICTURE)
        write_card(folder)


def save_budgets(folder: Path, budgets: dict[str, dict]) -> None:
    """Puts measured budgets into a model folder's `config.json`, whole or not at all, in the place of those measured before.

    Budgets that a person gave, length configurations alone, stay.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = {name: entry for name, entry in (config.get("budgets") or {}).items() if not isinstance(entry, dict)}
    config["budgets"] = {name: entry for name, entry in own.items() if name not in budgets} | budgets
    with replace_files(folder) as beside:
        (beside / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Report:
    """What was found, measured side by side on questions that the search has not seen.

    Args:
        full (`Budget`): all tokens.
        kept (`list[Budget]`): the front and what is named, under the names they have in `config.budgets`.
        named (`dict[str, Budget]`): those of them that are `accurate`, `balanced` or `fast`.
        constant, listed (`list[Budget]`): to compare with.
        scores (`dict[str, float]`): F1 on dev by name.
        found (`list[Budget]`): all that the search proposed, kept or not.
        sure (`dict[str, float]`): part of full length's F1 that those with a name are sure to keep on questions of training.
    """

    full: Budget
    kept: list[Budget]
    named: dict[str, Budget]
    constant: list[Budget]
    listed: list[Budget]
    scores: dict[str, float]
    found: list[Budget]
    sure: dict[str, float]

    def entries(self) -> dict[str, dict]:
        """As `config.budgets` has them: the names, the rest of the front, and full length."""
        found = self.named | {b.name: b for b in self.kept if b.length_config is not None and b.name not in self.named}
        return {name: budget.entry() for name, budget in found.items()} | {FULL: self.full.entry()}

    def rows(self) -> list[list[str]]:
        """The table, full length first."""
        front = [budget for budget in reversed(self.kept) if budget.length_config is not None]
        return [self._row(budget) for budget in [self.full, *front, *self.constant, *self.listed]]

    def comparison(self, f1: Callable[[Budget], float]) -> list[list[str]]:
        """What the front and constant ratios cost where they lose so much: between two points, on the line through them."""
        ratios = [budget.length_config for budget in self.constant]
        own = [budget for budget in self.kept if budget.length_config not in ratios]
        rows = []
        for loss in LOSSES:
            found = [
                cost_at([(cost(one) / cost(self.full), f1(one)) for one in [self.full, *group]], (1 - loss) * f1(self.full))
                for cost in (lambda budget: budget.latency_ms, lambda budget: budget.macs)
                for group in (own, self.constant)
            ]
            ms, other_ms, macs, other_macs = ["-" if value is None else f"{100 * value:.1f} %" for value in found]
            ratio = "-" if None in found[:2] else f"{found[0] / found[1]:.3f}"
            rows.append([f"{100 * loss:g} %", ms, other_ms, ratio, macs, other_macs])
        return rows

    def _row(self, budget: Budget) -> list[str]:
        names = [name for name, other in self.named.items() if other is budget] or [budget.name]
        return [
            ", ".join(names),
            ", ".join(str(entry) for entry in budget.length_config or []) or "all tokens",
            f"{budget.f1:.2f}",
            self._lost(budget),
            f"{100 * budget.macs / self.full.macs:.0f} %",
            f"{budget.latency_ms:.1f}",
            f"{self.full.latency_ms / budget.latency_ms:.2f}",
            f"{self.scores[budget.name]:.2f}" if budget.name in self.scores else "",
        ]

    def _lost(self, budget: Budget) -> str:
        """With the standard error, where it is known."""
        if not self.full.f1:
            return "-"
        error = "" if budget.f1_error is None else f" ± {100 * budget.f1_error / self.full.f1:.1f}"
        return f"{100 * (1 - budget.f1 / self.full.f1):.1f}{error} %"


def _report(bench: Bench, result, space: LengthSpace, more: list, others: list[Other], dev: Dataset | None) -> Report:
    """Measures what was found beside full length, constant ratios and what else a person listed; names what is kept."""
    everything = space.decode([space.highest] * len(space.layers))  # which the search may try too
    # Not the front alone: on so few questions luck decides between neighbours
    measured = [one.length_config for one in result.measured] + _given(bench.model.config, space)
    found = [list(one) for one in dict.fromkeys(map(tuple, measured)) if list(one) != everything]
    groups = {
        "front": found,
        "constant": [space.decode(space.constant(ratio)) for ratio in _ratios(space)],
        "listed": [length_config for length_config in more if length_config is not None],
    }
    full, *rest = _measured(bench, groups, others)
    own = [budget for budget in rest if budget.name.startswith(("front", "constant"))]
    kept, faster = keep_budgets(own, full), [budget for budget in own if budget.latency_ms < full.latency_ms]
    with tqdm(desc="Name", unit="config") as bar:

        def trusted(budget: Budget) -> float:
            bar.update()
            return bench.kept(tuple(budget.length_config))

        named = name_budgets(faster, full, trusted)
    shown = sorted({id(one): one for one in [*kept, *named.values()]}.values(), key=lambda one: one.latency_ms)
    firsts = {id(budget): name for name, budget in reversed(named.items())}
    shown = [replace(b, name=firsts.get(id(b), FULL if b is full else f"front-{n}")) for n, b in enumerate(shown, start=1)]
    by_config = {str(budget.length_config): budget for budget in shown}
    named = {name: by_config[str(budget.length_config)] for name, budget in named.items()}
    constant = [budget for budget in rest if budget.name.startswith("constant")]
    listed = rest[len(rest) - len(others) - len(groups["listed"]) :]
    for name in NAMED_LOSSES.keys() - named.keys():
        logger.warning(
            f"Nothing faster than full length is sure to lose at most {100 * NAMED_LOSSES[name]:g} %: none is {name!r}."
        )
    scores = _dev_scores(bench, [full, *shown, *constant, *listed], others, dev)
    sure = {name: bench.kept(tuple(budget.length_config)) for name, budget in named.items()}
    return Report(full, shown, named, constant, listed, scores, rest[: len(found)], sure)


def _given(config, space: LengthSpace) -> list:
    """The budgets that a person gave, which training may have practised; those that drop in other layers are left out."""
    given = [config.length_configs[name] for name, entry in (config.budgets or {}).items() if not isinstance(entry, dict)]
    kind, whole = (float, 1.0) if space.relative else (int, space.everything or space.highest)
    return [
        one
        for one in given
        if type(one[0]) is kind
        and all(
            entry == before or layer in space.layers
            for layer, (before, entry) in enumerate(zip([whole, *one[:-1]], one, strict=True))
        )
    ]


def _dev_scores(bench: Bench, budgets: Sequence[Budget], others: list[Other], dev: Dataset | None) -> dict[str, float]:
    """F1 on dev by name: scored once, and nothing is chosen by it."""
    if dev is None:
        return {}
    args, outside = bench.args, {other.name for other in others}
    sample = _sample(dev, bench.tokenizer, args)
    own = {one.name: one.length_config for one in budgets if one.name not in outside}
    found = {name: sample(bench.model, one or FULL)["f1"] for name, one in own.items()}
    for other in others:
        found[other.name] = other.f1(_sample(dev, other.tokenizer, args), args.batch_size)
    return found


def _measured(bench: Bench, groups: dict[str, list], others: list[Other]) -> list[Budget]:
    """Full length, all others, and other models, timed side by side and scored on the confirming questions."""
    names = [FULL, *(f"{group}-{number}" for group, found in groups.items() for number in range(1, 1 + len(found)))]
    length_configs = [None, *(length_config for found in groups.values() for length_config in found)]
    place = {"machine": machine_name(threads_of(bench.model)), "runtime": runtime_name(bench.model), "tokens": bench.tokens}
    place["sample"] = f"{len(bench.confirming.contexts)} held-out questions"
    latencies = bench.latencies(length_configs, TURNS, others)
    full, *rest = (bench.f1s(length_config) for length_config in tqdm(length_configs, desc="Confirm", unit="config"))
    scores = [(full, None), *((own, standard_error(own, full)) for own in rest)]
    own = [
        Budget(name, length_config, _mean(f1s), bench.macs(length_config), latency, score_error=error, **place)
        for name, length_config, (f1s, error), latency in zip(
            names, length_configs, scores, latencies[: len(names)], strict=True
        )
    ]
    outside = [
        Budget(
            other.name,
            other.length_config,
            other.f1(other.sample, bench.args.batch_size),
            other.macs(),
            latency,
            **place | {"runtime": getattr(other.model, "runtime_name", type(other.model).__name__)},
        )
        for other, latency in zip(others, latencies[len(names) :], strict=True)
    ]
    return own + outside


def _target_config(folder: Path, searched):
    """The configuration of a folder that gets the budgets."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no folder with a model; give save_to, folders that get the budgets.")
    config = load_config(folder)
    if config.num_hidden_layers != searched.num_hidden_layers:
        raise ValueError(
            f"{folder} has {config.num_hidden_layers} layers, the model that is searched {searched.num_hidden_layers}: the "
            "same budgets cannot serve both."
        )
    return config


def _space(config, layers: set[int], args: SearchArguments) -> LengthSpace:
    layers = sorted(layers & set(dropping_layers(config)))
    if args.absolute:
        return LengthSpace.tokens(
            config.num_hidden_layers, args.max_length, layers, positions=config.max_position_embeddings
        )
    shares = [share for budget in config.length_configs.values() for share in budget if isinstance(share, float)]
    return LengthSpace.shares(
        config.num_hidden_layers, layers, min([MIN_SHARE, *shares])
    )  # what training practised is in it


def _check_held_out(args: SearchArguments) -> None:
    """Questions that a model was trained on say nothing of its budgets."""
    record = Path(args.model) / TRAINING
    training = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    known = training.get("validation_fraction", training.get("held_out"))  # older records say held_out
    if known != args.held_out:
        trained = "is not known to have held out any" if known is None else f"held out {known:g}"
        logger.warning(
            f"held_out is {args.held_out:g}, but the training of {args.model} {trained}: if it saw these articles, F1 is "
            "flattered, and budgets look better than they are."
        )


def _settings(bench: Bench, args: SearchArguments) -> dict:
    """All that scores and costs depend on."""
    config = {name: value for name, value in bench.model.config.to_dict().items() if name not in NOT_SEARCHED}
    questions = hashlib.sha256(json.dumps(bench.samples[-1].data["question"][:]).encode()).hexdigest()[:16]
    options = ("cost", "screen_samples", "search_samples", "confirm_samples", "latency_samples", "max_length", "stride")
    options = (*options, "max_loss")
    weights = [path for path in sorted(Path(args.model).glob("*")) if path.suffix in (".safetensors", ".bin")]
    found = {name: getattr(args, name) for name in options} | {"questions": questions}
    found["model"] = json.dumps(config, sort_keys=True, default=str)
    found["weights"] = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in weights]
    if args.cost == "latency":
        found |= {"machine": machine_name(threads_of(bench.model)), "runtime": runtime_name(bench.model)}
    return found


def _sample(data: Dataset, tokenizer, args: SearchArguments) -> QuestionAnsweringEvaluator:
    return QuestionAnsweringEvaluator(
        tokenizer, data, args.max_length, args.stride, handle_impossible_answer=False, batch_size=args.batch_size
    )


def _spread_windows(sample: QuestionAnsweringEvaluator, count: int) -> list:
    """So many windows, spread over the lengths."""
    order = sorted(range(len(sample.windows)), key=lambda index: -sample.lengths[index])
    return [sample.windows[order[(2 * index + 1) * len(order) // (2 * count)]] for index in range(count)]


def _dev_data(args: SearchArguments) -> Dataset | None:
    """The dev questions, if there are any."""
    if not args.eval_file:
        return None
    return spread_over(load_squad(args.eval_file, split="validation"), args.eval_samples)


def _ratios(space: LengthSpace) -> list[float]:
    """Constant drop ratios up to one that leaves little."""
    return [0.9 * index / SPREAD / len(space.layers) ** 0.5 for index in range(1, SPREAD + 1)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _listed(budgets: list[Budget]) -> list[dict]:
    return [budget.entry() for budget in budgets]
