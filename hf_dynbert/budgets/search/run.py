# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A search, from a model and its data to budgets in its configuration, a table and a picture."""

import hashlib
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from datasets import Dataset

from ...configuration_dynamic_tinybert import FULL
from ...hub.model_card import write_card
from ...hub.records import TRAINING, remove_budget_files
from ...loading import load, load_tokenizer
from ...subnetwork import dropping_layers
from ...tasks import DataOptions, Task, task_of
from ...tasks.inference import check_max_length
from ...utils.atomic_files import replace_files
from ...utils.folder_config import load_config
from ...utils.tables import markdown_table
from ..budget import Budget
from ..choosing import runtime_name, threads_of
from ..latency import machine_name
from ..model_budgets import length_configs
from ..sampling import MIN_SHARE
from .arguments import SearchArguments
from .evaluator import CONFIRM, SEARCH, TEST, TRAINING_SAMPLE, BudgetEvaluator
from .plot import plot_front
from .report import result_rows, select_budgets
from .space import LengthSpace


try:
    import fcntl
except ImportError:  # Windows has none: there, each process of a search writes the results
    fcntl = None


JOURNAL, LOCK, PICTURE = "search.journal", "search.lock", "front.png"
# Fields of a configuration that change neither score nor cost of a length configuration, or that a search changes
NOT_SEARCHED = ("budgets", "length_config", "min_tokens_to_drop", "transformers_version", "_name_or_path", "auto_map")

logger = logging.getLogger(__name__)


def run_search(args: SearchArguments, task: Task | None = None) -> Path | None:
    """Searches, resuming from `args.output_dir`, and saves the budgets that are worth keeping in configurations.

    Args:
        args ([`SearchArguments`]): model, data and options.
        task ([`Task`], *optional*): task with the data and the metric; by default that of the model's head.

    Returns:
        `Path` or `None`: the folder with the results; `None` if other processes still work on the same search, of which the
        last one writes the results.

    Raises:
        ValueError: a model that cannot drop tokens, folders whose models cannot have its budgets, bad data or options;
            before any work.
        ImportError: Optuna or matplotlib is missing.
    """
    import matplotlib  # noqa: F401 (it comes with the `search` extra and is needed last: a missing one is reported first)

    from .optuna_search import plan_search, search_length_configs

    model, tokenizer = load(args.model, threads=args.threads), load_tokenizer(args.model)
    task = task or task_of(model.config, args.task, args.model)
    if not hasattr(model.config, "resolve_budget"):
        raise ValueError(f"{args.model} is a {type(model).__name__}, which cannot drop tokens: there is nothing to search.")
    if args.max_length is not None:
        check_max_length(model.config, args.max_length)
    targets = {Path(folder): _target_config(Path(folder), model.config) for folder in args.save_to or [args.model]}
    space = _space(model.config, list(targets.values()))
    plan_search(space, args.method, args.num_evaluations)  # refuses a grid that is too small
    _warn_about_validation_split(args)
    options = args.data_options(task, args.train_file or [], "train")
    samples = _load_samples(args, task, options)
    evaluators = {
        name: task.evaluator(tokenizer, data, model.config, options, args.batch_size) for name, data in samples.items()
    }
    batch_size = args.latency_batch_size or task.call_size
    evaluator = BudgetEvaluator(model, evaluators, args.cost, args.latency_samples, batch_size)
    given, output = _given_configs(model.config, space), Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with (output / LOCK).open("a") as lock:  # each process that works on the search holds a shared lock on this file
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_SH)  # waits while another process writes the results
        result = search_length_configs(
            evaluator.score_and_cost,
            space,
            args.num_evaluations,
            args.method,
            output / JOURNAL,
            args.seed,
            start=given,
            settings=_settings(model, samples[SEARCH], args, batch_size),
            min_score=(1 - args.max_loss) * float(evaluator.scores(SEARCH, None).mean()),
        )
        if fcntl and not _is_last(lock):
            return None
        # All of them, not the front alone: on the few examples of the search, chance decides between neighbours
        measured = [one.length_config for one in result.measured]
        budgets, min_tokens = _measure_and_select(evaluator, [*measured, *given], args.max_loss)
        named = [budget for budget in budgets.values() if not budget.is_full and not budget.point]
        content = {
            "budgets": {name: budget.entry() for name, budget in budgets.items()},
            "test_scores": evaluator.test_scores(budgets),
            "evaluations": [[one.length_config, one.score, one.cost] for one in result.measured],
            "retained": {budget.name: evaluator.retained(budget.length_config) for budget in named},
            "min_tokens_to_drop": min_tokens,
        }
        _write_results(output, budgets, content)
        for folder in targets:
            save_budgets(folder, content["budgets"], min_tokens)
            if folder.resolve() != output.resolve():
                with replace_files(folder) as staging:
                    shutil.copy(output / PICTURE, staging)
            write_card(folder)
    return output


def save_budgets(folder: Path, budgets: dict[str, dict], min_tokens_to_drop: int | None = None) -> None:
    """Saves measured budgets in a model folder's `config.json`, whole or not at all, in place of those measured before."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    before = config.get("budgets") or {}
    given = {name: entry for name, entry in before.items() if _is_given(entry)}
    config["budgets"] = given | budgets
    if min_tokens_to_drop is not None:
        config["min_tokens_to_drop"] = min_tokens_to_drop
    remove_budget_files(folder, before)
    with replace_files(folder) as beside:
        (beside / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _is_last(lock: TextIO) -> bool:
    """Whether no other process works on the search; this process then has it alone."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _measure_and_select(
    evaluator: BudgetEvaluator, candidates: list[list], max_loss: float
) -> tuple[dict[str, Budget], int]:
    """The budgets to save, by name, and the value of `min_tokens_to_drop` with which they were measured."""
    unique = [list(entries) for entries in dict.fromkeys(map(tuple, candidates)) if min(entries) < 1]
    full, *found = evaluator.measure(unique)
    budgets = select_budgets(full, found, max_loss, evaluator.retained)
    named = [budget for budget in budgets.values() if not budget.is_full and not budget.point]
    present = evaluator.model.config.min_tokens_to_drop
    if not named:
        return budgets, present
    fastest = min(named, key=lambda budget: budget.latency_ms)
    min_tokens = evaluator.min_tokens_to_drop(fastest.length_config)
    if min_tokens > max(present, min(evaluator.lengths)):
        # Short examples now keep their tokens, so what is saved is measured as it will run
        evaluator.set_min_tokens_to_drop(min_tokens)
        saved = [entries for entries in unique if any(entries == budget.length_config for budget in budgets.values())]
        full, *found = evaluator.measure(saved)
        budgets = select_budgets(full, found, max_loss, evaluator.retained)
    return budgets, min_tokens


def _load_samples(args: SearchArguments, task: Task, options: DataOptions) -> dict[str, Dataset]:
    """The examples of a search, in random order, cut into its samples.

    Raises:
        ValueError: the search leaves no examples of the validation split to confirm its results.
    """
    sources = args.train_file or [args.dataset_name or task.default_dataset]
    if sources == [None]:
        raise ValueError(f"No data is given. Give train_file=[...] or dataset_name=..., for the task {task.name}.")
    training, validation = task.split(task.load(sources, options), args.validation_fraction)
    training, validation = training.shuffle(seed=args.seed), validation.shuffle(seed=args.seed)
    first, last = args.search_samples, min(len(validation), args.search_samples + args.confirm_samples)
    if len(validation) <= first:
        raise ValueError(
            f"The validation split has {len(validation)} examples; search_samples={first} leaves none to confirm the "
            "results. Use fewer, or a larger validation_fraction, in training and here."
        )
    samples = {
        SEARCH: validation.select(range(first)),
        CONFIRM: validation.select(range(first, last)),
        TRAINING_SAMPLE: training.select(range(min(len(training), args.training_samples))),
    }
    if args.eval_file:
        test = task.load(args.eval_file, replace(options, split="validation"))
        count = min(len(test), args.eval_samples or len(test))
        samples[TEST] = test.select([index * len(test) // count for index in range(count)])  # neighbours may be alike
    return samples


def _given_configs(config, space: LengthSpace) -> list[list[float]]:
    """The shares that a user gave and that all targets can run; training may have practised them."""
    given = []
    for name, entries in length_configs(config).items():
        before = [1.0, *entries]
        dropping = {layer for layer, entry in enumerate(entries) if entry < before[layer]}
        if _is_given(config.budgets[name]) and isinstance(entries[0], float) and dropping <= set(space.layers):
            given.append(entries)
    return given


def _is_given(entry) -> bool:
    """Whether a user gave an entry of `config.budgets`; a search measures its entries."""
    return not isinstance(entry, dict) or "macs" not in entry


def _write_results(output: Path, budgets: dict[str, Budget], content: dict) -> None:
    """Writes `front.md`, `front.json` and the picture."""
    full = budgets[FULL]
    where = f"{full.machine}, {full.runtime}; {full.sample}, {full.tokens} tokens in the mean, batch {full.batch_size}"
    columns, *rows = result_rows(budgets, content["test_scores"])
    with replace_files(output) as folder:
        (folder / "front.md").write_text(f"{where}\n\n{markdown_table(columns, rows)}\n", encoding="utf-8")
        (folder / "front.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        plot_front(budgets, folder / PICTURE, where)


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
    return LengthSpace(config.num_hidden_layers, sorted(layers), min([MIN_SHARE, *shares]))


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


def _settings(model, searched: Dataset, args: SearchArguments, batch_size: int) -> dict:
    """Everything that scores and costs depend on."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in NOT_SEARCHED}
    weights = [path for path in sorted(Path(args.model).glob("*")) if path.suffix in (".safetensors", ".bin")]
    names = ("cost", "search_samples", "confirm_samples", "latency_samples", "max_length", "stride", "max_loss")
    settings = {name: getattr(args, name) for name in names}
    settings["data"] = hashlib.sha256(json.dumps(searched.to_list(), default=str).encode()).hexdigest()[:16]
    settings["model"] = json.dumps(config, sort_keys=True, default=str)
    settings["weights"] = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in weights]
    if args.cost == "latency":
        settings["machine"], settings["runtime"] = machine_name(threads_of(model)), runtime_name(model)
        settings["latency_batch_size"] = batch_size
    return settings
