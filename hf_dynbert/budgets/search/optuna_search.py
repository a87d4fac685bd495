# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Search for the length configurations with the least cost and the highest score. Takes any function, needs no model."""

import contextlib
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
from .pareto import Point, pareto_front
from .space import LengthSpace


GRID_LAYERS = 2  # the default is a grid for so many dropping layers; a grid over more has too few levels of each
STUDY = "length-configurations"
POPULATION = 20  # of NSGA-II: as in the Length-Adaptive Transformer's evolution (arXiv 2010.07003)

LengthConfig = list[int] | list[float]
Evaluate = Callable[[LengthConfig], tuple[float, float]]


@dataclass(frozen=True)
class Measured:
    """A length configuration with its score (higher is better) and its cost (lower is better)."""

    length_config: LengthConfig
    score: float
    cost: float

    @property
    def point(self) -> Point:
        """Cost and score."""
        return self.cost, self.score


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
    evaluate: Evaluate,
    space: LengthSpace,
    num_evaluations: int = 144,
    method: str | None = None,
    storage: str | Path | None = None,
    seed: int = 0,
    start: Sequence[LengthConfig] = (),
    settings: dict | None = None,
    min_score: float = -math.inf,
    progress: bool = True,
) -> SearchResult:
    """Searches for the Pareto front of any function from a length configuration to a score and a cost.

    Every evaluation is stored at once. A search that was killed continues from the same `storage`. Several processes that
    share it work on one search; `num_evaluations` counts the evaluations of all of them.

    Args:
        evaluate (`Callable`): takes a length configuration and returns its score, higher is better, and its cost.
        space (`LengthSpace`): the configurations: `LengthSpace.shares(6)`, or `LengthSpace.tokens(6, 384, fewest=91)`.
        num_evaluations (`int`, *optional*, defaults to 144): number of configurations to evaluate. A grid has the largest
            number of levels with which it fits, 12 x 12 for two dropping layers.
        method (`str`, *optional*): `"grid"`, `"tpe"` (Dynamic-TinyBERT's, arXiv 2111.09645) or `"nsga2"`. The default is
            `"grid"` for at most two dropping layers, else `"tpe"`.
        storage (`str` or `Path`, *optional*): a file; in memory by default.
        seed (`int`, *optional*, defaults to 0): in one process, the same seed gives the same front.
        start (`list`, *optional*): length configurations to evaluate first. Those of the other kind (shares for a space of
            token counts, or the reverse) are ignored.
        settings (`dict`, *optional*): everything else that scores and costs depend on, as JSON values: model, data, machine.
            A storage with other settings is refused.
        min_score (`float`, *optional*): configurations with a lower score are outside the front, and the methods avoid them.
        progress (`bool`, *optional*): whether to show a progress bar with the size of the front.

    Returns:
        [`SearchResult`]

    Raises:
        ValueError: an unknown method, too few evaluations, a storage of another search or a damaged one, or a score or cost
            that is not finite.
        OSError: the storage cannot be written.
    """
    if method is None:
        method = "grid" if len(space.layers) <= GRID_LAYERS else "tpe"
    check_choice("method", method, METHODS)
    check_number("num_evaluations", num_evaluations, 1)
    grid = space.grid(num_evaluations) if method == "grid" else None
    study = _open(storage, {"space": repr(space)} | (settings or {}))
    for length_config in start:
        if isinstance(length_config[0], float) == space.relative:
            _enqueue(study, space, length_config)
    with tqdm(total=num_evaluations, disable=not progress, desc="Search", unit="config") as bar:
        while True:
            result = _result(study, min_score)
            bar.n = min(len(result.measured), num_evaluations)
            bar.set_postfix_str(_progress_text(result.front))
            if len(result.measured) >= num_evaluations or (grid is not None and not _left_on_grid(study, space, grid)):
                return result
            study.sampler = GridOrder(space, grid) if grid is not None else _sampler(method, study, seed)
            _evaluate_next(study, space, evaluate, min_score)


class GridOrder(BaseSampler):
    """Proposes the points of a grid that no trial has evaluated, in order.

    Optuna's own `GridSampler` ends the study by itself, which `study.ask` does not allow.

    Args:
        space (`LengthSpace`): the space of the search.
        grid (`list[list[float]]`): its points.
    """

    def __init__(self, space: LengthSpace, grid: list[list[float]]):
        self.space, self.grid = space, grid

    def infer_relative_search_space(self, study, trial) -> dict[str, FloatDistribution]:
        """Returns the coordinates of a point."""
        return _coordinates(self.space)

    def sample_relative(self, study, trial, search_space) -> dict[str, float]:
        """Returns the next point: one that nobody evaluates, or one whose evaluation has not finished."""
        running = [
            other.params
            for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if other.number != trial.number
        ]
        left = _left_on_grid(study, self.space, self.grid)
        free = [params for params in left if params not in running]
        return next(iter(free or left), dict(zip(search_space, self.grid[0], strict=True)))

    def sample_independent(self, study, trial, param_name, param_distribution):
        """Refuses parameters that are no coordinates."""
        raise ValueError(f"{param_name} is no coordinate of this search.")


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
            if not _is_record(line):
                raise ValueError(
                    f"{self.path} is damaged: line {number} is no record of a search. Delete the file to start the search "
                    "again, or give another output_dir."
                )
        if len(complete) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(complete))


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and "op_code" in record


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


def _params(space: LengthSpace, point: Sequence[float]) -> dict[str, float]:
    return dict(zip(_coordinates(space), point, strict=True))


def _finished(study: optuna.Study) -> list:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _left_on_grid(study: optuna.Study, space: LengthSpace, grid: list[list[float]]) -> list[dict[str, float]]:
    """The points of the grid that have not been evaluated; of points with one length configuration the first."""
    done = [trial.user_attrs["length_config"] for trial in _finished(study)]
    left = []
    for point in grid:
        length_config = space.decode(point)
        if length_config not in done:
            done.append(length_config)
            left.append(_params(space, point))
    return left


def _enqueue(study: optuna.Study, space: LengthSpace, length_config: LengthConfig) -> None:
    """Plans a configuration to be evaluated first, unless it was evaluated or planned before."""
    params = _params(space, space.encode(length_config))
    wanted = space.decode(list(params.values()))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.WAITING)):
        planned = trial.system_attrs.get("fixed_params", trial.params)
        if space.decode([planned[name] for name in params]) == wanted:
            return
    study.enqueue_trial(params)


def _sampler(method: str, study: optuna.Study, seed: int) -> BaseSampler:
    """A sampler for one proposal. Its seed depends on the trials so far, so that processes propose different points."""
    draw_seed = (seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32  # a large prime keeps two searches apart
    return TPESampler(seed=draw_seed) if method == "tpe" else NSGAIISampler(seed=draw_seed, population_size=POPULATION)


def _evaluate_next(study: optuna.Study, space: LengthSpace, evaluate: Evaluate, min_score: float) -> None:
    """Evaluates one configuration and stores its score and cost. One that was evaluated before keeps its values."""
    trial = study.ask(_coordinates(space))
    try:
        length_config = space.decode([trial.params[name] for name in _coordinates(space)])
        known = [other for other in _finished(study) if other.user_attrs["length_config"] == length_config]
        if known:
            cost, score = known[0].values
        else:
            score, cost = evaluate(length_config)
        if not (math.isfinite(score) and math.isfinite(cost)):
            raise ValueError(f"{length_config} has the score {score} and the cost {cost}; both must be finite.")
        trial.set_user_attr("length_config", length_config)
        if math.isfinite(min_score):
            trial.set_constraint("min_score", min_score - score)  # at most 0 where the score is reached
        study.tell(trial, (cost, score))
    except BaseException:  # an interrupt too
        with contextlib.suppress(OSError):  # on a full disk the record of the failure cannot be written either
            study.tell(trial, state=TrialState.FAIL)
        raise


def _result(study: optuna.Study, min_score: float) -> SearchResult:
    trials = _finished(study)
    measured = [Measured(trial.user_attrs["length_config"], trial.values[1], trial.values[0]) for trial in trials]
    good = [one for one in measured if one.score >= min_score]
    front = [good[index] for index in pareto_front([one.point for one in good])]
    return SearchResult(front, measured)


def _progress_text(front: list[Measured]) -> str:
    ends = [front[0], front[-1]] if len(front) > 1 else front
    return f"front {len(front)}: " + " .. ".join(f"{one.score:.4g} at {one.cost:.4g}" for one in ends)
