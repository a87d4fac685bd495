# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Search for the length configurations worth keeping: least cost, highest score. Knows no model, only a function."""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from tqdm.auto import tqdm

from .evolution import EvolutionarySampler, distributions, genes_of
from .pareto import Point, front_ranks, pareto_front
from .space import LengthSpace


METHODS = ("evolutionary", "tpe", "nsga2", "random")
STUDY = "length-configurations"
KEPT_BY_SCREEN = 3  # one in so many goes on to the next, larger sample (eta of successive halving, arXiv 1502.07943)
DONE = (TrialState.COMPLETE, TrialState.PRUNED)

logger = logging.getLogger(__name__)

LengthConfig = list[int] | list[float]
Evaluate = Callable[[LengthConfig], tuple[float, float]]


@dataclass(frozen=True)
class Measured:
    """A length configuration and what it gives.

    Args:
        length_config (`list[int]` or `list[float]`): one entry a layer.
        score (`float`): the higher the better, for example F1.
        cost (`float`): the lower the better, for example milliseconds.
    """

    length_config: LengthConfig
    score: float
    cost: float

    @property
    def point(self) -> Point:
        """Cost and score."""
        return self.cost, self.score


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Args:
        front (`list[Measured]`): what nothing else dominates, cheapest first.
        measured (`list[Measured]`): everything that was measured on the full sample, in order.
        screened (`int`): what was left out after a smaller sample.
    """

    front: list[Measured]
    measured: list[Measured]
    screened: int


def search_length_configs(
    evaluate: Evaluate,
    space: LengthSpace,
    num_evaluations: int = 100,
    method: str = "evolutionary",
    screens: Sequence[Evaluate] = (),
    storage: str | Path | None = None,
    seed: int = 0,
    start: Sequence[LengthConfig] = (),
    progress: bool = True,
) -> SearchResult:
    """Searches for the Pareto front of any function from a length configuration to a score and a cost.

    Every evaluation is stored at once. A search that was killed goes on from the same `storage`, and several processes or
    machines that share it work on one search; `num_evaluations` are those of all of them.

    Args:
        evaluate (`Callable`): from a length configuration to its score, the higher the better, and its cost.
        space (`LengthSpace`): what may be tried: `LengthSpace.shares(6)`, or `LengthSpace.tokens(6, 384, fewest=91)`.
        num_evaluations (`int`, *optional*, defaults to 100): configurations to try, screened ones included.
        method (`str`, *optional*, defaults to `"evolutionary"`): `"evolutionary"` (Length-Adaptive Transformer, arXiv
            2010.07003), `"tpe"` (Dynamic-TinyBERT's, 2111.09645), `"nsga2"`, or `"random"` for comparison.
        screens (`list[Callable]`, *optional*): cheaper versions of `evaluate`, the cheapest first, on fewer questions. Of
            what each sees one in three goes on (successive halving).
        storage (`str` or `Path`, *optional*): a file; in memory when not given.
        seed (`int`, *optional*, defaults to 0): same seed, same front, in one process.
        start (`list`, *optional*): length configurations to try first.
        progress (`bool`, *optional*): whether to show a bar with the front's size.

    Returns:
        [`SearchResult`]

    Raises:
        ValueError: an unknown method, too few evaluations, or a storage that holds a search over another space.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; valid are {', '.join(map(repr, METHODS))}.")
    if num_evaluations < 1:
        raise ValueError(f"num_evaluations is {num_evaluations}; valid are numbers from 1 on.")
    study = _open(storage, space)
    for length_config in start:
        _enqueue(study, space, length_config)
    with tqdm(total=num_evaluations, initial=_done(study), disable=not progress, desc="Search", unit="config") as bar:
        while _done(study) < num_evaluations:
            study.sampler = _sampler(method, space, seed, _alive(study))
            _try(study, space, evaluate, screens)
            bar.n = min(_done(study), num_evaluations)
            bar.set_postfix_str(_best(study))
    return _result(study)


def _open(storage: str | Path | None, space: LengthSpace) -> optuna.Study:
    """The study, new or as it was left; what a process that is dead was about to try is tried again."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is not None:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(storage)))
    study = optuna.create_study(storage=storage, study_name=STUDY, directions=["minimize", "maximize"], load_if_exists=True)
    settings = study.user_attrs.setdefault("space", repr(space)) if study.user_attrs else None
    if settings is None:
        study.set_user_attr("space", repr(space))
    elif settings != repr(space):
        raise ValueError(f"This storage holds a search over {settings}, not {space!r}; give another file.")
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(trial.user_attrs.get("process", "")):
            study.tell(trial.number, state=TrialState.FAIL)
    return study


def _enqueue(study: optuna.Study, space: LengthSpace, length_config: LengthConfig) -> None:
    params = dict(zip(distributions(space), space.encode(length_config), strict=True))
    study.enqueue_trial(params, skip_if_exists=True)


def _sampler(method: str, space: LengthSpace, seed: int, index: int) -> BaseSampler:
    """A sampler for one draw, seeded by what is there: a search that was killed draws the same."""
    seed_here = (seed * 1_000_003 + index) % 2**32  # any large prime keeps the seeds of two searches apart
    return {
        "evolutionary": lambda: EvolutionarySampler(space, seed),
        "tpe": lambda: TPESampler(seed=seed_here),
        "nsga2": lambda: NSGAIISampler(seed=seed_here, population_size=20),
        "random": lambda: RandomSampler(seed=seed_here),
    }[method]()


def _try(study: optuna.Study, space: LengthSpace, evaluate: Evaluate, screens: Sequence[Evaluate]) -> None:
    """One configuration: screened, measured if it is good enough, and stored."""
    trial = study.ask(distributions(space))
    trial.set_user_attr("process", f"{socket.gethostname()}:{os.getpid()}")
    try:
        _measure(study, trial, space, evaluate, screens)
    except BaseException:  # an interrupt too: nobody works on it any more
        study.tell(trial, state=TrialState.FAIL)
        raise


def _measure(study: optuna.Study, trial: Trial, space: LengthSpace, evaluate: Evaluate, screens: Sequence[Evaluate]) -> None:
    genes = genes_of(trial.params, space)
    length_config = space.decode(genes)
    trial.set_user_attr("length_config", length_config)
    twin = next((other for other in study.get_trials(deepcopy=False) if _is_twin(other, trial, length_config)), None)
    if twin is not None:
        study.tell(trial, twin.values)
        return
    for number, screen in enumerate(screens):
        score, cost = screen(length_config)
        trial.set_user_attr(_rung(number), (cost, score))
        if not _goes_on(study, number, (cost, score)):
            study.tell(trial, state=TrialState.PRUNED)
            return
    score, cost = evaluate(length_config)
    study.tell(trial, (cost, score))


def _is_twin(other, trial: Trial, length_config: LengthConfig) -> bool:
    same = other.user_attrs.get("length_config") == length_config
    return same and other.number != trial.number and other.state == TrialState.COMPLETE


def _goes_on(study: optuna.Study, number: int, point: Point) -> bool:
    """Whether a point is among the best third of those that this screen saw."""
    name = _rung(number)
    others = [trial.user_attrs[name] for trial in study.get_trials(deepcopy=False) if name in trial.user_attrs]
    points = [tuple(other) for other in others]
    ranks = front_ranks(points)
    better = sum(rank < ranks[points.index(point)] for rank in ranks)
    return better < max(1, len(points) / KEPT_BY_SCREEN)


def _rung(number: int) -> str:
    return f"screen_{number}"


def _done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=DONE))


def _alive(study: optuna.Study) -> int:
    """Trials that are done or that somebody works on."""
    return len(study.get_trials(deepcopy=False, states=(*DONE, TrialState.RUNNING)))


def _is_dead(process: str) -> bool:
    """Whether a process of this machine is gone; of another machine nobody knows."""
    host, _, number = process.partition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return False


def _best(study: optuna.Study) -> str:
    front = _result(study).front
    ends = [front[0], front[-1]] if len(front) > 1 else front
    return f"front {len(front)}: " + " .. ".join(f"{found.score:.4g} at {found.cost:.4g}" for found in ends)


def _result(study: optuna.Study) -> SearchResult:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    measured = [Measured(trial.user_attrs["length_config"], trial.values[1], trial.values[0]) for trial in trials]
    front = [measured[index] for index in pareto_front([found.point for found in measured])]
    return SearchResult(front, measured, len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))))
