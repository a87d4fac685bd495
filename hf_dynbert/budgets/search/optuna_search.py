# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Search for the length configurations with the least cost and the highest score. Takes any function, needs no model."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState
from tqdm.auto import tqdm

from ...utils.errors import check_choice, check_number
from .arguments import METHODS
from .pareto import pareto_front
from .space import LengthSpace


GRID_LAYERS = 2  # the default is a grid for so many dropping layers; a grid over more has too few levels of each
STUDY = "length-configurations"
POPULATION = 20  # of NSGA-II: as in the Length-Adaptive Transformer's evolution (arXiv 2010.07003)


@dataclass(frozen=True)
class Measured:
    """A length configuration with its score (higher is better) and its cost (lower is better)."""

    length_config: list[float]
    score: float
    cost: float


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        front (`list[Measured]`): the configurations that no other dominates and that reach `min_score`, cheapest first.
        measured (`list[Measured]`): all measured configurations, in order.
    """

    front: list[Measured]
    measured: list[Measured]


def search_length_configs(
    evaluate: Callable[[list[float]], tuple[float, float]],
    space: LengthSpace,
    num_evaluations: int = 144,
    method: str | None = None,
    storage: str | Path | None = None,
    seed: int = 0,
    start: Sequence[Sequence[float]] = (),
    settings: dict | None = None,
    min_score: float = -math.inf,
    progress: bool = True,
) -> SearchResult:
    """Searches for the Pareto front of any function from a length configuration to a score and a cost.

    Every evaluation is stored at once. A search that was killed continues from the same `storage`. Several processes that
    share it work on one search; `num_evaluations` counts the evaluations of all of them.

    Args:
        evaluate (`Callable`): takes a length configuration and returns its score, higher is better, and its cost.
        space (`LengthSpace`): the configurations, for example `LengthSpace(6)` for a model of six layers.
        num_evaluations (`int`, *optional*, defaults to 144): number of configurations to evaluate. A grid has the largest
            number of levels with which it fits, 12 x 12 for two dropping layers.
        method (`str`, *optional*): `"grid"`, `"tpe"` (Dynamic-TinyBERT's, arXiv 2111.09645) or `"nsga2"`. The default is
            `"grid"` for at most two dropping layers, else `"tpe"`.
        storage (`str` or `Path`, *optional*): a file; in memory by default.
        seed (`int`, *optional*, defaults to 0): in one process, the same seed gives the same front.
        start (`list`, *optional*): length configurations of shares to evaluate first.
        settings (`dict`, *optional*): everything else that scores and costs depend on, as JSON values: model, data, machine.
            A storage with other settings is refused.
        min_score (`float`, *optional*): configurations with a lower score are outside the front, and the methods avoid them.
        progress (`bool`, *optional*): whether to show a progress bar.

    Raises:
        ValueError: an unknown method, too few evaluations, a storage of another search or a damaged one, or a score or cost
            that is not finite.
        OSError: the storage cannot be written.
    """
    method, grid = plan_search(space, method, num_evaluations)
    planned = [space.encode(length_config) for length_config in start] + grid
    study = _open(storage, {"space": repr(space)} | (settings or {}))
    with tqdm(total=num_evaluations, disable=not progress, desc="Search", unit="config") as bar:
        while True:
            measured = _measured(study)
            left = _left(space, planned, measured)
            bar.n = min(len(measured), num_evaluations)
            bar.refresh()
            if len(measured) >= num_evaluations or (method == "grid" and not left):
                good = [one for one in measured if one.score >= min_score]
                front = [good[index] for index in pareto_front([(one.cost, one.score) for one in good])]
                return SearchResult(front, measured)
            _enqueue_next(study, left)
            study.sampler = _sampler(method, study, seed)
            _evaluate_next(study, space, evaluate, min_score)


def plan_search(space: LengthSpace, method: str | None, num_evaluations: int) -> tuple[str, list[list[float]]]:
    """The method, by default a grid over few layers, and the points of its grid.

    Raises:
        ValueError: an unknown method, or a grid that has no room in `num_evaluations`.
    """
    if method is None:
        method = "grid" if len(space.layers) <= GRID_LAYERS else "tpe"
    check_choice("method", method, METHODS)
    check_number("num_evaluations", num_evaluations, 1)
    return method, space.grid(num_evaluations) if method == "grid" else []


class SearchJournal(JournalFileBackend):
    """Optuna's journal file, whose errors name the file.

    A line that a kill or a full disk left unfinished is cut off at the start.

    Args:
        path (`Path`): the file; it is created if it does not exist.

    Raises:
        ValueError: the file is damaged in another place.
    """

    def __init__(self, path: Path):
        super().__init__(str(path))
        self.path = path
        lock = JournalFileSymlinkLock(str(path))  # the lock of the class above: no other process writes meanwhile
        lock.acquire()
        try:
            self._cut_unfinished_line()
        finally:
            lock.release()

    def append_logs(self, logs: list[dict]) -> None:
        """Appends records."""
        try:
            super().append_logs(logs)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; the search continues from this file", str(self.path)) from error

    def _cut_unfinished_line(self) -> None:
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(complete.splitlines(), start=1):
            try:
                valid = "op_code" in json.loads(line)
            except (ValueError, TypeError):
                valid = False
            if not valid:
                raise ValueError(
                    f"{self.path} is damaged: line {number} is no record of a search. Delete the file to start the search "
                    "again, or give another output_dir."
                )
        if len(complete) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(complete))


def _open(storage: str | Path | None, settings: dict) -> optuna.Study:
    """Opens a study, new or as it was left; refuses the study of another search."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = None
    if storage is not None:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        journal = JournalStorage(SearchJournal(Path(storage)))
    study = optuna.create_study(storage=journal, study_name=STUDY, directions=["minimize", "maximize"], load_if_exists=True)
    settings = json.loads(json.dumps(settings))  # as the journal returns them: tuples become lists
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", settings)
    elif known != settings:
        changed = sorted(name for name in known | settings if known.get(name) != settings.get(name))
        differences = "; ".join(f"{name} was {known.get(name)!r}, is {settings.get(name)!r}" for name in changed)
        raise ValueError(
            f"{storage} holds another search ({differences}): its results cannot be compared. Give another output_dir."
        )
    return study


def _coordinates(space: LengthSpace) -> dict[str, FloatDistribution]:
    return {f"layer_{layer}": FloatDistribution(0.0, 1.0) for layer in space.layers}


def _measured(study: optuna.Study) -> list[Measured]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [Measured(trial.user_attrs["length_config"], trial.values[1], trial.values[0]) for trial in trials]


def _left(space: LengthSpace, planned: list[list[float]], measured: list[Measured]) -> list[dict[str, float]]:
    """The planned points without an evaluation; of points with one length configuration the first."""
    done = [one.length_config for one in measured]
    left = []
    for point in planned:
        length_config = space.decode(point)
        if length_config not in done:
            done.append(length_config)
            left.append(dict(zip(_coordinates(space), point, strict=True)))
    return left


def _enqueue_next(study: optuna.Study, left: list[dict[str, float]]) -> None:
    """Makes a planned point the next trial, unless all of them are in the queue."""
    running = [trial.params for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
    queued = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    waiting = [trial.system_attrs["fixed_params"] for trial in queued]
    free = [params for params in left if params not in waiting]
    free.sort(key=lambda params: params in running)  # the process that evaluates a point may have been killed
    if free:
        study.enqueue_trial(free[0])


def _sampler(method: str, study: optuna.Study, seed: int) -> BaseSampler:
    """A sampler for one proposal. Its seed depends on the trials so far, so that processes propose different points."""
    draw_seed = (seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32  # a large prime keeps two searches apart
    return NSGAIISampler(seed=draw_seed, population_size=POPULATION) if method == "nsga2" else TPESampler(seed=draw_seed)


def _evaluate_next(study: optuna.Study, space: LengthSpace, evaluate: Callable, min_score: float) -> None:
    """Evaluates one configuration and stores its score and cost. One that was evaluated before keeps its values."""
    trial = study.ask(_coordinates(space))
    length_config = space.decode([trial.params[name] for name in _coordinates(space)])
    known = [one for one in _measured(study) if one.length_config == length_config]
    score, cost = (known[0].score, known[0].cost) if known else evaluate(length_config)
    if not (math.isfinite(score) and math.isfinite(cost)):
        raise ValueError(f"{length_config} has the score {score} and the cost {cost}; both must be finite.")
    trial.set_user_attr("length_config", length_config)
    if math.isfinite(min_score):
        trial.set_constraint("min_score", min_score - score)  # at most 0 where the score is reached
    study.tell(trial, (cost, score))
