# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Search for the length configurations worth keeping: least cost, highest score. Knows no model, only a function."""

import contextlib
import json
import math
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from tqdm.auto import tqdm

from .evolution import EvolutionarySampler, distributions, genes_of
from .pareto import Point, by_rank_and_gap, pareto_front
from .space import LengthSpace


METHODS = ("evolutionary", "tpe", "nsga2", "random")
STUDY = "length-configurations"
KEPT_BY_SCREEN = 3  # one in so many goes on to the next, larger sample (eta of successive halving, arXiv 1502.07943)
PATIENCE = 5  # times the longest evaluation so far: of another machine's processes only their beginning is known
SHORTEST, LONGEST = timedelta(minutes=2), timedelta(hours=2)  # bounds of it: loading a model comes first; none takes so long
DONE = (TrialState.COMPLETE, TrialState.PRUNED)

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
    settings: dict | None = None,
    least_scores: Sequence[float] | None = None,
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
        start (`list`, *optional*): length configurations to try first; those of the other kind (shares for a space of token
            counts, or the reverse) are left out.
        settings (`dict`, *optional*): all else that scores and costs depend on, as JSON can write it: model, questions,
            machine. A storage of other settings is refused.
        least_scores (`list[float]`, *optional*): scores below which a configuration is of no interest, one for each screen
            and one for `evaluate`: it goes no further, and has no children.
        progress (`bool`, *optional*): whether to show a bar with the front's size.

    Returns:
        [`SearchResult`]

    Raises:
        ValueError: an unknown method, too few evaluations, a storage that holds another search, or a score or cost that is
            not finite.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; valid are {', '.join(map(repr, METHODS))}.")
    if num_evaluations < 1:
        raise ValueError(f"num_evaluations is {num_evaluations}; valid are numbers from 1 on.")
    study = _open(storage, {"space": repr(space)} | (settings or {}))
    kind = float if space.relative else int
    stages = list(zip([*screens, evaluate], least_scores or [-math.inf] * (1 + len(screens)), strict=True))
    for length_config in start:
        if type(length_config[0]) is kind:
            _enqueue(study, space, length_config)
    with tqdm(total=num_evaluations, initial=_done(study), disable=not progress, desc="Search", unit="config") as bar:
        while _done(study) < num_evaluations:
            study.sampler = _sampler(method, space, seed, _alive(study))
            _try(study, space, stages)
            bar.n = min(_done(study), num_evaluations)
            bar.set_postfix_str(_best(study))
    return _result(study)


def others_at_work(storage: str | Path) -> bool:
    """Whether somebody else still works on this search: the last one to finish it does what comes after."""
    return bool(_running(_load(storage))[0])


def _load(storage: str | Path | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is not None:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(storage)))
    return optuna.create_study(storage=storage, study_name=STUDY, directions=["minimize", "maximize"], load_if_exists=True)


def _open(storage: str | Path | None, settings: dict) -> optuna.Study:
    """The study, new or as it was left; what a process that is dead was about to try is tried again."""
    study = _load(storage)
    settings = json.loads(json.dumps(settings))
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", settings)
    elif known != settings:
        changed = {name for name in known | settings if known.get(name) != settings.get(name)}
        told = "; ".join(f"{name} was {known.get(name)!r}, is {settings.get(name)!r}" for name in sorted(changed))
        raise ValueError(f"{storage} holds another search ({told}): its results cannot be compared. Give another file.")
    for trial in _running(study)[1]:
        with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another process was faster
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return study


def _running(study: optuna.Study) -> tuple[list, list]:
    """Trials that somebody works on, and those that nobody works on any more."""
    trials = study.get_trials(deepcopy=False)
    took = [trial.duration for trial in trials if trial.state in DONE and trial.duration]
    patience = min(LONGEST, max(SHORTEST, PATIENCE * max(took))) if took else LONGEST
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    dead = [trial for trial in running if _is_dead(trial, patience)]
    return [trial for trial in running if trial not in dead], dead


def _enqueue(study: optuna.Study, space: LengthSpace, length_config: LengthConfig) -> None:
    """To be tried first, unless it was: one that failed was not."""
    params = dict(zip(distributions(space), space.encode(length_config), strict=True))
    for trial in study.get_trials(deepcopy=False):
        planned = trial.system_attrs.get("fixed_params", trial.params)
        if planned == params and trial.state != TrialState.FAIL:
            return
    study.enqueue_trial(params)


def _sampler(method: str, space: LengthSpace, seed: int, index: int) -> BaseSampler:
    """A sampler for one draw, seeded by what is there: a search that was killed draws the same."""
    seed_here = (seed * 1_000_003 + index) % 2**32  # any large prime keeps the seeds of two searches apart
    return {
        "evolutionary": lambda: EvolutionarySampler(space, seed),
        "tpe": lambda: TPESampler(seed=seed_here),
        "nsga2": lambda: NSGAIISampler(seed=seed_here, population_size=20),
        "random": lambda: RandomSampler(seed=seed_here),
    }[method]()


def _try(study: optuna.Study, space: LengthSpace, stages: Sequence[tuple[Evaluate, float]]) -> None:
    """One configuration: screened, measured if it is good enough, and stored."""
    trial = study.ask(distributions(space))
    trial.set_user_attr("process", _process(os.getpid()))
    try:
        _measure(study, trial, space, stages)
    except BaseException:  # an interrupt too: nobody works on it any more
        study.tell(trial, state=TrialState.FAIL)
        raise


def _measure(study: optuna.Study, trial: Trial, space: LengthSpace, stages: Sequence[tuple[Evaluate, float]]) -> None:
    """The stages are functions and the least scores that they let pass; all but the last are screens."""
    genes = genes_of(trial.params, space)
    length_config = space.decode(genes)
    trial.set_user_attr("length_config", length_config)
    twin = next((other for other in study.get_trials(deepcopy=False) if _is_twin(other, trial, length_config)), None)
    if twin is not None:
        study.tell(trial, twin.values, state=twin.state)
        return
    for number, (evaluate, least) in enumerate(stages):
        score, cost = _finite(evaluate(length_config), length_config)
        if score >= least and number < len(stages) - 1:
            trial.set_user_attr(_rung(number), (cost, score))
        if score < least or (number < len(stages) - 1 and not _goes_on(study, number, trial)):
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, (cost, score))


def _is_twin(other, trial: Trial, length_config: LengthConfig) -> bool:
    same = other.user_attrs.get("length_config") == length_config
    return same and other.number != trial.number and other.state in DONE


def _finite(found: tuple[float, float], length_config: LengthConfig) -> tuple[float, float]:
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{length_config} was given the score {found[0]} and the cost {found[1]}; both must be finite.")
    return found


def _goes_on(study: optuna.Study, number: int, trial: Trial) -> bool:
    """Whether a point is among the best third of those that this screen saw: on the better front, in the wider gap."""
    name = _rung(number)
    seen = [
        other for other in study.get_trials(deepcopy=False) if name in other.user_attrs and other.state != TrialState.FAIL
    ]
    points = [tuple(other.user_attrs[name]) for other in seen]
    order = sorted(range(len(points)), key=by_rank_and_gap(points))
    place = order.index([other.number for other in seen].index(trial.number))
    return place < max(1, len(points) / KEPT_BY_SCREEN)


def _rung(number: int) -> str:
    return f"screen_{number}"


def _done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=DONE))


def _alive(study: optuna.Study) -> int:
    """Trials that are done or that somebody works on."""
    return len(study.get_trials(deepcopy=False, states=(*DONE, TrialState.RUNNING)))


def _process(number: int) -> str:
    """A process of this machine, with its start: numbers are used again."""
    stat = Path(f"/proc/{number}/stat")
    start = stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""
    return f"{socket.gethostname()}:{number}:{start}"


def _is_dead(trial, patience: timedelta) -> bool:
    """Whether nobody works on a running trial any more: its process is gone, or, of another machine, it takes too long."""
    process = trial.user_attrs.get("process", "")
    host, _, rest = process.partition(":")
    number = rest.partition(":")[0]
    if host != socket.gethostname() or not number:
        return bool(trial.datetime_start) and datetime.now() - trial.datetime_start > patience
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return _process(int(number)) != process


def _best(study: optuna.Study) -> str:
    front = _result(study).front
    ends = [front[0], front[-1]] if len(front) > 1 else front
    return f"front {len(front)}: " + " .. ".join(f"{found.score:.4g} at {found.cost:.4g}" for found in ends)


def _result(study: optuna.Study) -> SearchResult:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    measured = [Measured(trial.user_attrs["length_config"], trial.values[1], trial.values[0]) for trial in trials]
    front = [measured[index] for index in pareto_front([found.point for found in measured])]
    return SearchResult(front, measured, len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))))
