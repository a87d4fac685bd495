# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A chain of verbs, each starting from what those before it made. A stage whose result is there, and whose inputs are what
they were, is not repeated; one that was killed goes on."""

import contextlib
import functools
import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..utils.atomic_files import one_at_a_time, replace_files
from .parsing import read_options, recipe_options, unknown


CHAIN = "chain.yaml"
RESULTS = {  # where a verb's result lies: an option, and a file in the folder it names
    "train": ("output_dir", "config.json"),
    "convert": ("output_dir", "config.json"),
    "quantize": ("output_dir", "quantization.json"),
    "search": ("output_dir", "front.json"),
    "benchmark": ("output_dir", "benchmark.json"),
    "evaluate": ("model", "evaluation.json"),
}
IN_PLACE = ("evaluate",)  # its result lies in the folder of its input, and is nobody's input
# Options that change where things go and what is told, not what comes out
COSMETIC = ("output_dir", "teacher_cache_dir", "logging_", "log_level", "report_to", "run_name", "project", "disable_tqdm")
COSMETIC += ("save_steps", "save_total_limit", "push_to_hub", "hub_", "dataloader_")  # beginnings of their names
# A search takes these up where it was: its journal says what has been tried
GROWS = {"search": {"eval_file", "eval_samples", "num_evaluations", "method", "length_configs", "beside", "save_to"}}
GROWS["search"] |= {"trained_samples"}
# Whose meaning is one stage's own
SCOPED = {"output_dir", "model", "model_name_or_path", "teacher_model_name_or_path", "save_to"}
NOT_OF_ALL = {"evaluate": {"held_out"}}  # what is held out is of the training data
SECRET = "token"
WEIGHTS = ("*.safetensors", "*.bin", "*.xml")
IDENTITY = ("config.json", "tokenizer.json", *WEIGHTS)  # of a folder that no stage made

DONE, RESUMES, GROWN, NEW, WAITS = "done", "goes on", "goes on with other options", "to do", "to do later"
OUTDATED, CHANGED, FOUND = "to do again, after what changed before it", "options or data changed", "not of this chain"


@dataclass(frozen=True)
class Stage:
    """One command of a chain.

    Args:
        name (`str`): as the chain calls it.
        verb (`str`): of `hf-dynbert`.
        argv (`tuple[str]`): what follows the verb on the command line.
        options (`dict[str, list[str]]`): what that says, recipe included; the last word on each option.
    """

    name: str
    verb: str
    argv: tuple[str, ...]
    options: Mapping[str, Sequence[str]]

    @property
    def folder(self) -> Path:
        """Where its result lies."""
        return Path(self.options[RESULTS[self.verb][0]][0])

    @property
    def result(self) -> Path:
        """The file that is there when it is."""
        return self.folder / RESULTS[self.verb][1]

    @property
    def writes(self) -> list[Path]:
        """Folders that later stages find changed."""
        if self.verb in IN_PLACE:
            return []
        budgets = self.options.get("save_to", self.options.get("model", [])) if self.verb == "search" else []
        return [self.folder, *map(Path, budgets)]


@dataclass(frozen=True)
class Position:
    """Where a stage stands.

    Args:
        state (`str`): see the names above.
        said (`dict[str, list[str]]`): its options, files by what they hold and folders by the stages that made them.
        sources (`dict[str, int]`): those stages, and when they finished.
        change (`str`): what is other than in the record.
    """

    state: str
    said: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sources: Mapping[str, int | None] = field(default_factory=dict)
    change: str = ""


def read_chain(folder: str | Path, more: Sequence[str], known: Mapping[str, Sequence[str]]) -> list[Stage]:
    """Reads `chain.yaml`.

    Args:
        folder (`str` or `Path`): of the recipes; a stage's recipe is looked for beside the chain.
        more (`list[str]`): options that win: `--name value` for all stages whose verbs know it, `--stage.name value` for
            one of them.
        known (`dict[str, list[str]]`): options of each verb.

    Returns:
        `list[Stage]`.

    Raises:
        ValueError: no chain, an unknown verb or option.
    """
    path = Path(folder) / CHAIN
    if not path.is_file():
        raise ValueError(f"{folder} holds no {CHAIN}; give a folder of recipes, such as recipes/quala-minilm-squad.")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = content.get("stages") if isinstance(content, dict) else None
    words = [part for item in commands.items() for part in item] if isinstance(commands, dict) else [None]
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"{path} is no chain: it must have stages, each a name and a command, as in one: train one.yaml.")
    given = read_options(more)
    stages = [_stage(name, shlex.split(command), path, given, known) for name, command in commands.items()]
    _check_given(given, stages, known)
    folders = [stage.folder.resolve() for stage in stages if stage.verb not in IN_PLACE]
    if len(set(folders)) < len(folders):
        raise ValueError(f"{path}: two stages have the folder {max(folders, key=folders.count)}; give each its own.")
    return stages


def _stage(name: str, words: list[str], path: Path, given: dict, known: Mapping[str, Sequence[str]]) -> Stage:
    if not name.isidentifier():
        raise ValueError(f"{path}: stage {name!r}; valid are letters, digits and underscores: options name it.")
    verb, *argv = words
    if verb not in RESULTS or verb not in known:
        raise ValueError(unknown(f"{path}: stage {name}: verb {verb!r}", verb, sorted(RESULTS)))
    recipe = [str(path.parent / argv.pop(0))] if argv and not argv[0].startswith("-") else []
    for option, values in sorted(given.items(), key=lambda item: "." in item[0]):  # a stage's own word is the last
        scope, _, own = option.rpartition(".")
        if scope == name or (not scope and own in set(known[verb]) - NOT_OF_ALL.get(verb, set())):
            argv += [f"--{own}", *values]
    said = recipe_options(Path(recipe[0]), known[verb]) if recipe else []
    options = read_options([*said, *argv])
    needed = [RESULTS[verb][0], *(["save"] if verb in IN_PLACE else [])]
    if missing := [option for option in needed if option not in options]:
        raise ValueError(f"{path}: stage {name} says no --{missing[0]}, by which the chain knows its result.")
    return Stage(name, verb, (*recipe, *argv), options)


def _check_given(given: dict, stages: list[Stage], known: Mapping[str, Sequence[str]]) -> None:
    by_name = {stage.name: stage for stage in stages}
    for option in given:
        scope, _, own = option.rpartition(".")
        if option in SCOPED:
            raise ValueError(f"--{option} would be the same for all stages; say whose, as in --{stages[0].name}.{option}.")
        if scope and scope not in by_name:
            raise ValueError(unknown(f"option --{option}: stage {scope!r}", scope, sorted(by_name)))
        verbs = [by_name[scope].verb] if scope else [stage.verb for stage in stages]
        names = sorted({name for verb in verbs for name in known[verb]})
        if own not in names:
            raise ValueError(unknown(f"option --{option}", own, names))


class Chain:
    """Stages, and the record of what was done.

    Args:
        stages (`list[Stage]`): in their order.
        record (`Path`): JSON file; of each stage its inputs, whether it finished, what came out, and the minutes it took.
    """

    def __init__(self, stages: Sequence[Stage], record: Path):
        self.stages, self.path = list(stages), record
        self.records = self._read()

    def positions(self) -> dict[str, Position]:
        """Where each stage stands now."""
        makers: dict[Path, list[str]] = {}
        found: dict[str, Position] = {}
        for stage in self.stages:
            found[stage.name] = self._position(stage, makers, found)
            for folder in stage.writes:
                makers.setdefault(folder.resolve(), []).append(stage.name)
        return found

    def run(
        self,
        call: Callable[[Stage, int], None],
        adopt: Sequence[str] = (),
        redo: Sequence[str] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        """Runs what is not done.

        Args:
            call (`Callable`): runs a stage, or raises; gets the stage, and a file descriptor that is locked while it works.
            adopt (`list[str]`): stages whose results were made elsewhere, and are taken as they lie there.
            redo (`list[str]`): stages that begin again, as their options, data or the code are others now; what they made
                before is set aside. What was killed halfway goes on nevertheless.
            say (`Callable`): gets a line before each stage.

        Raises:
            ValueError: a stage's folder holds what this chain did not make, options that are others than when a stage was
                begun, or another process at work; before any work.
        """
        with self._locked() as lock:
            self._check(adopt, redo)
            for stage in self.stages:
                here = self.positions()[stage.name]
                again = stage.name in redo and here.state in (DONE, GROWN)
                if stage.name in adopt and here.state != DONE:
                    say(f"{stage.name}: taken as it lies in {stage.folder}")
                    self._note(stage, here, finished=True, adopted=True)
                elif here.state == DONE and not again:
                    say(f"{stage.name}: done before, {stage.result}")
                else:
                    if (again or here.state in (CHANGED, OUTDATED)) and stage.verb not in IN_PLACE:
                        _set_aside(stage.folder, say)
                    say(f"{stage.name}: hf-dynbert {stage.verb} {shlex.join(_without_secrets(stage.argv))}")
                    self._timed(stage, here, call, lock)

    def bill(self) -> list[list[str]]:
        """Rows of stage, minutes, folder."""
        minutes = {stage.name: self.records.get(stage.name, {}).get("minutes") for stage in self.stages}
        return [
            [stage.name, "-" if minutes[stage.name] is None else f"{minutes[stage.name]:.0f}", str(stage.folder)]
            for stage in self.stages
        ]

    def _read(self) -> dict[str, dict]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Nobody else works on this record. A stage's process inherits the lock, and holds it if this one is killed."""
        with one_at_a_time(self.path.with_suffix(".lock")) as lock:
            if lock is None:
                raise ValueError(f"Another process works on {self.path}; wait for it, or stop it.")
            self.records = self._read()  # what another one did meanwhile
            yield lock

    def _check(self, adopt: Sequence[str], redo: Sequence[str]) -> None:
        by_name, positions = {stage.name: stage for stage in self.stages}, self.positions()
        for option, names in (("adopt", adopt), ("redo", redo)):
            for name in names:
                if name not in by_name:
                    raise ValueError(unknown(f"{option}: stage {name!r}", name, sorted(by_name)))
        for name in adopt:
            if not by_name[name].result.exists():
                raise ValueError(f"adopt: {by_name[name].result} is not there; leave {name} to the chain.")
        again = set(redo)
        for name, position in positions.items():
            folder = by_name[name].folder
            if again & set(position.sources):
                again.add(name)  # whatever else has changed, it starts from something new
            if position.state == FOUND and name not in adopt:
                raise ValueError(
                    f"{folder}, where {name} belongs, holds what this chain did not make. Take it as it is with --adopt "
                    f"{name}, or move it away."
                )
            if position.state == CHANGED and name not in again and by_name[name].verb not in IN_PLACE and _filled(folder):
                raise ValueError(
                    f"{name}: {position.change}. Repeat the command that began it, or begin it again with --redo {name}: "
                    f"{folder} will be set aside, and nothing deleted."
                )

    def _timed(self, stage: Stage, here: Position, call: Callable[[Stage, int], None], lock: int) -> None:
        spent = self.records.get(stage.name, {}).get("minutes") or 0.0
        spent = spent if here.state in (RESUMES, GROWN) else 0.0
        self._note(stage, here, finished=False, minutes=spent)
        begin = time.perf_counter()
        try:
            call(stage, lock)
            if not stage.result.exists():
                raise ValueError(f"{stage.name} ended, but {stage.result} is not there.")
        except BaseException:  # Ctrl-C too: its minutes count, and it goes on its way
            self._note(stage, here, finished=False, minutes=spent + (time.perf_counter() - begin) / 60)
            raise
        self._note(stage, here, finished=True, minutes=spent + (time.perf_counter() - begin) / 60)

    def _note(
        self, stage: Stage, here: Position, finished: bool, minutes: float | None = None, adopted: bool = False
    ) -> None:
        self.records[stage.name] = {
            "said": {name: list(words) for name, words in here.said.items()},
            "sources": dict(here.sources),
            "folder": str(stage.folder.resolve()),
            "weights": _weights(stage) if finished else None,
            "finished": finished,
            "adopted": adopted,
            "minutes": minutes,
            "at": time.time_ns(),
        }
        with replace_files(self.path.parent) as beside:
            (beside / self.path.name).write_text(json.dumps(self.records, indent=1) + "\n", encoding="utf-8")

    def _position(self, stage: Stage, makers: Mapping[Path, Sequence[str]], before: Mapping[str, Position]) -> Position:
        sources, said = {}, {}
        for name, words in stage.options.items():
            if name.startswith(COSMETIC) or SECRET in name:
                continue
            said[name] = []
            for word in words:
                made_by = makers.get(_resolved(word), [])
                sources |= {maker: self.records.get(maker, {}).get("at") for maker in made_by}
                said[name].append(f"made by {', '.join(made_by)}" if made_by else _content(word))
        record = self.records.get(stage.name)
        if record and record["folder"] != str(stage.folder.resolve()):
            record = None  # it is of another folder
        ready = all(before[source].state == DONE for source in sources)
        state, change = self._state(stage, record, said, sources, ready)
        return Position(state, said, sources, change)

    def _state(self, stage: Stage, record: dict | None, said: dict, sources: dict, ready: bool) -> tuple[str, str]:
        if record is None:
            strange = stage.verb not in IN_PLACE and _filled(stage.folder)
            return (FOUND if strange else NEW if ready else WAITS), ""
        others = {name for name in {*said, *record["said"]} if said.get(name) != record["said"].get(name)}
        if record["finished"] and stage.result.exists() and record["weights"] != _weights(stage):
            return FOUND, ""
        if others - GROWS.get(stage.verb, set()) and not record["adopted"]:
            name = sorted(others - GROWS.get(stage.verb, set()))[0]
            was, now = (" ".join(found.get(name, ["not given"])) for found in (record["said"], said))
            return CHANGED, f"{name} was {was}, and is {now}"
        if not ready:
            return WAITS, ""
        if record["sources"] != sources and not record["adopted"]:
            return OUTDATED, ""
        if not (record["finished"] and stage.result.exists()):
            return RESUMES, ""
        return (GROWN if others and not record["adopted"] else DONE), ""


def _resolved(word: str) -> Path:
    return Path(word).resolve()


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _without_secrets(argv: Sequence[str]) -> list[str]:
    pairs = zip(("", *argv[:-1]), argv, strict=True)
    return ["..." if before.startswith("--") and SECRET in before else word for before, word in pairs]


def _weights(stage: Stage) -> str | None:
    """What came out of a stage, and no later stage changes; `None` where that is no model."""
    files = sorted({file for pattern in WEIGHTS for file in stage.folder.glob(pattern)})
    return None if stage.verb in (*IN_PLACE, "search", "benchmark") or not files else _digest(files)


def _digest(files: Sequence[Path]) -> str:
    parts = [_digest_of_file(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@functools.cache  # a chain has a handful of files, each read once
def _digest_of_file(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content(word: str) -> str:
    """What a file or a folder holds; any other word is itself."""
    path = Path(word)
    try:
        if not path.exists():
            return word
    except OSError:  # too long for a name: JSON, for example
        return word
    files = [path] if path.is_file() else sorted({file for pattern in IDENTITY for file in path.glob(pattern)})
    return f"{path.name} ({_digest(files)})"


def _set_aside(folder: Path, say: Callable[[str], None]) -> None:
    """Moves a folder away that is made again: nothing is lost, and nothing is resumed from it."""
    if not folder.exists():
        return
    number = next(n for n in range(1, 1000) if not folder.with_name(f"{folder.name}.old-{n}").exists())  # ends long before
    say(f"{folder} is made again: what was there moved to {folder.name}.old-{number}")
    folder.rename(folder.with_name(f"{folder.name}.old-{number}"))
