# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A search, from a model and its data to budgets in its configuration, a table and a picture."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ...configuration_dynamic_tinybert import FULL
from ...hub.model_card import write_card
from ...hub.records import TRAINING
from ...loading import load, load_tokenizer
from ...subnetwork import SubNetwork, dropping_layers
from ...tasks import Evaluator, Task, task_of
from ...tasks.inference import check_max_length
from ...utils.atomic_files import replace_files
from ...utils.folder_config import load_config
from ...utils.tables import markdown_table
from ..choosing import runtime_name, threads_of
from ..latency import machine_name
from ..model_budgets import length_configs
from ..sampling import MIN_SHARE, parse_length_config
from .arguments import SearchArguments
from .evaluator import CONFIRM, SAMPLES, SEARCH, TRAINING_SAMPLE, Baseline, BudgetEvaluator, Kind
from .plot import plot_front
from .report import COMPARED, Report, Selection, make_report, select_budgets
from .space import LengthSpace


try:
    import fcntl
except ImportError:  # Windows has none: there, each process of a search writes the results
    fcntl = None


JOURNAL, LOCK, PICTURE = "search.journal", "search.lock", "front.png"
NUM_RATIOS = 8  # constant drop ratios that are measured next to the found configurations
# Fields of a configuration that change neither score nor cost of a length configuration, or that a search changes
NOT_SEARCHED = ("budgets", "length_config", "min_tokens_to_drop", "transformers_version", "_name_or_path", "auto_map")

logger = logging.getLogger(__name__)


def run_search(args: SearchArguments) -> Path | None:
    """Searches, resuming from `args.output_dir`, and saves the budgets that are worth keeping in configurations.

    Args:
        args ([`SearchArguments`]): model, data and options.

    Returns:
        `Path` or `None`: the folder with the results; `None` if other processes still work on the same search, of which the
        last one writes the results.

    Raises:
        ValueError: a model that cannot drop tokens, folders whose models cannot have its budgets, bad data or options;
            before any work.
        ImportError: Optuna or matplotlib is missing.
    """
    import matplotlib  # noqa: F401 (it comes with the `search` extra and is needed last: a missing one is reported first)

    from .optuna_search import search_length_configs

    model, tokenizer = load(args.model, threads=args.threads), load_tokenizer(args.model)
    task = task_of(model.config, args.task, args.model)
    if not hasattr(model.config, "resolve_budget"):
        raise ValueError(f"{args.model} is a {type(model).__name__}, which cannot drop tokens: there is nothing to search.")
    if args.max_length is not None:
        check_max_length(model.config, args.max_length)
    targets = {Path(folder): _target_config(Path(folder), model.config) for folder in args.save_to or [args.model]}
    space = _space(model.config, list(targets.values()))
    listed = [SubNetwork.parse(model.config, parse_length_config(text)).length_config for text in args.length_configs]
    _warn_about_validation_split(args)
    samples = _Samples(args, task)
    evaluators = {name: samples.evaluator(name, model, tokenizer) for name in SAMPLES}
    evaluator = BudgetEvaluator(model, evaluators, args.cost, args.latency_samples)
    baselines = [_baseline(named, samples, args) for named in args.baselines]
    test = samples.test_evaluator(model, tokenizer)
    output = Path(args.output_dir)
    with _Workers(output / LOCK) as workers:
        result = search_length_configs(
            evaluator.score_and_cost,
            space,
            args.num_evaluations,
            args.method,
            output / JOURNAL,
            args.seed,
            start=_given_configs(model.config),
            settings=_settings(model, samples, args),
            min_score=(1 - args.max_loss) * evaluator.full_score(),
        )
        if not workers.is_last():
            return None
        found = [one.length_config for one in result.measured]
        candidates = _candidates(model.config, space, found, [one for one in listed if one is not None])
        measurements = evaluator.measure(candidates, baselines)
        selection = select_budgets(measurements, args.max_loss, evaluator.retained)
        min_tokens = _min_tokens_to_drop(evaluator, selection)
        if min_tokens > max(model.config.min_tokens_to_drop, min(evaluator.confirming.lengths)):
            # Short examples now keep their tokens, so what is saved is measured as it will run
            model.config.min_tokens_to_drop = min_tokens
            evaluator.clear_scores()
            again = [(Kind.FOUND, budget.name, budget.length_config) for budget in selection.saved]
            again += [(kind, name, length_config) for kind, name, length_config in candidates if kind is not Kind.FOUND]
            measurements = evaluator.measure(again, baselines)
            selection = select_budgets(measurements, args.max_loss, evaluator.retained)
        report = make_report(measurements, selection)
        if test is not None:
            report = Report(selection, evaluator.test(report.measurements, test, baselines))
        retained = {name: evaluator.retained(budget.length_config) for name, budget in selection.named.items()}
        evaluations = [[one.length_config, one.score, one.cost] for one in result.measured]
        _write_results(output, report, {"evaluations": evaluations, "retained": retained, "min_tokens_to_drop": min_tokens})
        for folder in targets:
            save_budgets(folder, selection.entries(), min_tokens)
            if folder.resolve() != output.resolve():
                shutil.copy(output / PICTURE, folder / PICTURE)
            write_card(folder)
    return output


def save_budgets(folder: Path, budgets: dict[str, dict], min_tokens_to_drop: int | None = None) -> None:
    """Saves measured budgets in a model folder's `config.json`, whole or not at all, in place of those measured before."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    given = {name: entry for name, entry in (config.get("budgets") or {}).items() if _is_given(entry)}
    config["budgets"] = {name: entry for name, entry in given.items() if name not in budgets} | budgets
    if min_tokens_to_drop is not None:
        config["min_tokens_to_drop"] = min_tokens_to_drop
    with replace_files(folder) as beside:
        (beside / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class _Samples:
    """The examples of a search, in random order, cut into its samples.

    Args:
        args ([`SearchArguments`]): files and sizes.
        task ([`Task`]): the model's task.

    Raises:
        ValueError: the search leaves no examples of the validation split to confirm its results.
    """

    def __init__(self, args: SearchArguments, task: Task):
        self.args, self.task = args, task
        self.options = args.data_options(split="train")
        sources = args.train_file or [args.dataset_name or task.default_dataset]
        if sources == [None]:
            raise ValueError(f"No data is given. Give train_file=[...] or dataset_name=..., for the task {task.name}.")
        data = task.load(sources, self.options)
        training, validation = task.split(data, args.validation_fraction)
        training, validation = training.shuffle(seed=args.seed), validation.shuffle(seed=args.seed)
        first, last = args.search_samples, min(len(validation), args.search_samples + args.confirm_samples)
        if len(validation) <= first:
            raise ValueError(
                f"The validation split has {len(validation)} examples; search_samples={first} leaves none to confirm the "
                "results. Use fewer, or a larger validation_fraction, in training and here."
            )
        self.data = {
            SEARCH: validation.select(range(first)),
            CONFIRM: validation.select(range(first, last)),
            TRAINING_SAMPLE: training.select(range(min(len(training), args.training_samples))),
        }
        self.test = None
        if args.eval_file:
            test = task.load(args.eval_file, replace(self.options, split="validation"))
            count = min(len(test), args.eval_samples or len(test))
            self.test = test.select([index * len(test) // count for index in range(count)])  # neighbours may be alike

    def evaluator(self, name: str, model, tokenizer) -> Evaluator:
        """The task's evaluator of one sample."""
        return self._evaluator(self.data[name], model, tokenizer)

    def test_evaluator(self, model, tokenizer) -> Evaluator | None:
        """The task's evaluator of the test examples, or `None`."""
        return None if self.test is None else self._evaluator(self.test, model, tokenizer)

    def digest(self) -> str:
        """A hash of the examples that score a configuration."""
        return hashlib.sha256(json.dumps(self.data[SEARCH].to_list(), default=str).encode()).hexdigest()[:16]

    def _evaluator(self, data, model, tokenizer) -> Evaluator:
        return self.task.evaluator(tokenizer, data, model.config, self.options, self.args.batch_size)


class _Workers:
    """The processes that work on one search: each holds a shared lock on a file, which ends with the process.

    Args:
        path (`Path`): the file.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a")

    def __enter__(self) -> "_Workers":
        if fcntl:
            fcntl.flock(self.file, fcntl.LOCK_SH)  # waits while another process writes the results
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def is_last(self) -> bool:
        """Whether no other process works on the search; this process then has it alone."""
        if not fcntl:
            return True
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _baseline(named: str, samples: _Samples, args: SearchArguments) -> Baseline:
    """Loads another model from `FOLDER` or `FOLDER@CONFIG`."""
    place, at, text = named.partition("@")
    model, tokenizer = load(place, samples.task.name, args.threads), load_tokenizer(place)
    can_drop = hasattr(model.config, "resolve_budget")
    if at and not can_drop:
        raise ValueError(
            f"baselines: {place} is a {type(model).__name__}, which cannot drop tokens; give {place} without @{text}."
        )
    return Baseline(
        name=Path(place).resolve().name + at + text,
        model=model,
        budget=SubNetwork.parse(model.config, parse_length_config(text) if at else FULL) if can_drop else None,
        confirming=samples.evaluator(CONFIRM, model, tokenizer),
        test=samples.test_evaluator(model, tokenizer),
    )


def _candidates(config, space: LengthSpace, found: list, listed: list) -> list[tuple[Kind, str, Sequence]]:
    """Everything to measure: found and given configurations, constant ratios, listed configurations.

    All found configurations are measured again, and not the front alone: on the few examples of the search, chance decides
    between neighbours.
    """
    constant = [space.constant(0.9 * index / NUM_RATIOS / len(space.layers) ** 0.5) for index in range(1, NUM_RATIOS + 1)]
    everything = space.decode([1.0] * len(space.layers))
    candidates = []
    for kind, group in ((Kind.FOUND, [*found, *_given_configs(config)]), (Kind.CONSTANT, constant), (Kind.LISTED, listed)):
        unique = [list(one) for one in dict.fromkeys(tuple(entries) for entries in group)]
        unique = [entries for entries in unique if entries != everything and _fits(entries, space, kind)]
        candidates += [(kind, f"{kind.value}-{number}", entries) for number, entries in enumerate(unique, start=1)]
    return candidates


def _fits(entries: list, space: LengthSpace, kind: Kind) -> bool:
    """Whether a configuration may be saved in all targets: it drops tokens in the layers of the space alone."""
    if kind is Kind.LISTED:  # measured, and never saved
        return True
    if isinstance(entries[0], float) != space.relative:
        return False
    before = space.whole
    for layer, entry in enumerate(entries):
        if entry != before and layer not in space.layers:
            return False
        before = entry
    return True


def _given_configs(config) -> list[list]:
    """The length configurations that a user gave; training may have practised them."""
    return [lengths for name, lengths in length_configs(config).items() if _is_given(config.budgets[name])]


def _is_given(entry) -> bool:
    """Whether a user gave an entry of `config.budgets`; a search measures its entries."""
    return not isinstance(entry, dict) or "macs" not in entry


def _min_tokens_to_drop(evaluator: BudgetEvaluator, selection: Selection) -> int:
    """Fewest tokens at which the fastest named budget is faster; the present value if no budget was named."""
    if not selection.named:
        return evaluator.model.config.min_tokens_to_drop
    fastest = min(selection.named.values(), key=lambda budget: budget.latency_ms)
    return evaluator.min_tokens_to_drop(fastest.length_config)


def _write_results(output: Path, report: Report, more: dict) -> None:
    """Writes `front.md`, `front.json` and the picture."""
    full = report.selection.full
    where = f"{full.machine}, {full.runtime}; {full.sample}, {full.tokens} tokens in the mean"
    parts = [where, markdown_table(report.columns(), report.rows()), markdown_table(COMPARED, report.comparison())]
    if report.has_test_scores:
        parts += ["On the test examples:", markdown_table(COMPARED, report.comparison(on_test=True))]
    rows = []
    for one in report.measurements:
        rows.append({"kind": one.kind.value, "test_score": one.test_score, **asdict(one.budget)})
    content = {"budgets": report.selection.entries(), "measurements": rows, **more}
    with replace_files(output) as folder:
        (folder / "front.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        (folder / "front.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        plot_front(report, folder / PICTURE, where)


def _target_config(folder: Path, searched):
    """The configuration of a folder that receives the budgets."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no folder with a model; give save_to=[...], folders that receive the budgets.")
    config = load_config(folder)
    if config.num_hidden_layers != searched.num_hidden_layers:
        raise ValueError(
            f"{folder} has {config.num_hidden_layers} layers, the searched model {searched.num_hidden_layers}: they cannot "
            "have the same budgets. Leave the folder out of save_to."
        )
    return config


def _space(config, targets: list) -> LengthSpace:
    """Shares over the layers that may drop tokens in the model and in all targets, down to those of training's budgets."""
    layers = set(dropping_layers(config))
    for target in targets:
        layers &= set(dropping_layers(target))
    shares = [entry for entries in length_configs(config).values() for entry in entries if isinstance(entry, float)]
    return LengthSpace.shares(config.num_hidden_layers, sorted(layers), min([MIN_SHARE, *shares]))


def _warn_about_validation_split(args: SearchArguments) -> None:
    """Warns if the validation split may have been trained on."""
    record = Path(args.model) / TRAINING
    training = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    known = training.get("validation_fraction", training.get("held_out"))  # version 0.1 wrote the latter
    if known != args.validation_fraction:
        trained = "is unknown" if known is None else f"was {known:g}"
        logger.warning(
            f"validation_fraction is {args.validation_fraction:g}, but that of the training of {args.model} {trained}. If "
            "the model was trained on these examples, their scores are too high and budgets look better than they are."
        )


def _settings(model, samples: _Samples, args: SearchArguments) -> dict:
    """Everything that scores and costs depend on."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in NOT_SEARCHED}
    weights = [path for path in sorted(Path(args.model).glob("*")) if path.suffix in (".safetensors", ".bin")]
    names = ("cost", "search_samples", "confirm_samples", "latency_samples", "max_length", "stride", "max_loss")
    settings = {name: getattr(args, name) for name in names}
    settings["data"] = samples.digest()
    settings["model"] = json.dumps(config, sort_keys=True, default=str)
    settings["weights"] = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in weights]
    if args.cost == "latency":
        settings["machine"], settings["runtime"] = machine_name(threads_of(model)), runtime_name(model)
    return settings
