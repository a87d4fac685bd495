# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A chain of verbs, each starting from what those before it made. A stage whose result is there, and whose inputs are what
they were, is not repeated; one that was killed goes on."""

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .folders import replace_files
from .options import read_options, recipe_options, unknown


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
COSMETIC = {"output_dir", "save_to", "logging_steps", "save_steps", "save_total_limit", "report_to", "teacher_cache_dir"}
COSMETIC |= {"push_to_hub", "hub_model_id", "hub_private_repo", "hub_strategy", "disable_tqdm"}
IDENTITY = ("config.json", "tokenizer.json", "*.safetensors", "*.bin", "*.xml")  # of a folder that no stage made

DONE, RESUMES, CHANGED, NEW, FOUND, WAITS = "done", "goes on", "inputs changed", "to do", "not of this chain", "to do later"


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
    """Where a stage stands: its state, and the key of its inputs."""

    state: str
    key: str


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
    commands = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages") or {}
    given = read_options(more)
    stages = [_stage(name, shlex.split(command), path, given, known) for name, command in commands.items()]
    _check_given(given, stages, known)
    return stages


def _stage(name: str, words: list[str], path: Path, given: dict, known: Mapping[str, Sequence[str]]) -> Stage:
    if not name.isidentifier():
        raise ValueError(f"{path}: stage {name!r}; valid are letters, digits and underscores: options name it.")
    verb, *argv = words
    if verb not in RESULTS or verb not in known:
        raise ValueError(unknown(f"{path}: stage {name}: verb {verb!r}", verb, sorted(RESULTS)))
    recipe = [str(path.parent / argv.pop(0))] if argv and not argv[0].startswith("-") else []
    for option, values in given.items():
        scope, _, own = option.rpartition(".")
        if scope == name or (not scope and own in known[verb]):
            argv += [f"--{own}", *values]
    said = recipe_options(Path(recipe[0]), known[verb]) if recipe else []
    return Stage(name, verb, (*recipe, *argv), read_options([*said, *argv]))


def _check_given(given: dict, stages: list[Stage], known: Mapping[str, Sequence[str]]) -> None:
    by_name = {stage.name: stage for stage in stages}
    for option in given:
        scope, _, own = option.rpartition(".")
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
        record (`Path`): JSON file; of each stage the key of its inputs, whether it finished, and the minutes it took.
    """

    def __init__(self, stages: Sequence[Stage], record: Path):
        self.stages, self.path = list(stages), record
        self.records: dict[str, dict] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}

    def positions(self) -> dict[str, Position]:
        """Where each stage stands now."""
        makers: dict[Path, list[str]] = {}
        found: dict[str, Position] = {}
        for stage in self.stages:
            sources = {
                maker for words in stage.options.values() for word in words for maker in makers.get(_resolved(word), [])
            }
            key = self._key(stage, makers)
            ready = all(found[source].state == DONE for source in sources)
            found[stage.name] = Position(self._state(stage, key, ready), key)
            for folder in stage.writes:
                makers.setdefault(folder.resolve(), []).append(stage.name)
        return found

    def run(self, call: Callable[[Stage], None], adopt: Sequence[str] = (), say: Callable[[str], None] = print) -> None:
        """Runs what is not done.

        Args:
            call (`Callable`): runs a stage, or raises.
            adopt (`list[str]`): stages whose results were made elsewhere, and are taken as they lie there.
            say (`Callable`): gets a line before each stage.

        Raises:
            ValueError: a stage's folder holds what this chain did not make; before any work.
        """
        self._check_adopted(adopt)
        for stage in self.stages:
            here = self.positions()[stage.name]
            if stage.name in adopt and here.state != DONE:
                say(f"{stage.name}: taken as it lies in {stage.folder}")
                self._note(stage, here.key, finished=True)
            elif here.state == DONE:
                say(f"{stage.name}: done before, {stage.result}")
            else:
                if here.state == CHANGED and stage.verb not in IN_PLACE:
                    _set_aside(stage.folder, say)
                say(f"{stage.name}: hf-dynbert {stage.verb} {shlex.join(stage.argv)}")
                self._timed(stage, here, call)

    def bill(self) -> list[list[str]]:
        """Rows of stage, minutes, folder."""
        minutes = {stage.name: self.records.get(stage.name, {}).get("minutes") for stage in self.stages}
        return [
            [stage.name, "-" if minutes[stage.name] is None else f"{minutes[stage.name]:.0f}", str(stage.folder)]
            for stage in self.stages
        ]

    def _check_adopted(self, adopt: Sequence[str]) -> None:
        by_name = {stage.name: stage for stage in self.stages}
        for name in adopt:
            if name not in by_name:
                raise ValueError(unknown(f"adopt: stage {name!r}", name, sorted(by_name)))
            if not by_name[name].result.exists():
                raise ValueError(f"adopt: {by_name[name].result} is not there; leave {name} to the chain.")
        for stage in self.stages:
            strange = stage.verb not in IN_PLACE and stage.name not in self.records and _filled(stage.folder)
            if strange and stage.name not in adopt:
                raise ValueError(
                    f"{stage.folder}, where {stage.name} belongs, holds what this chain did not make. Take it as it is with "
                    f"--adopt {stage.name}, move it away, or give --{stage.name}.output_dir."
                )

    def _timed(self, stage: Stage, here: Position, call: Callable[[Stage], None]) -> None:
        spent = self.records.get(stage.name, {}).get("minutes", 0.0) if here.state == RESUMES else 0.0
        self._note(stage, here.key, finished=False, minutes=spent)
        begin, finished = time.perf_counter(), False
        try:
            call(stage)
            finished = True
        finally:
            self._note(stage, here.key, finished, minutes=spent + (time.perf_counter() - begin) / 60)
        if not stage.result.exists():
            raise ValueError(f"{stage.name} ended well, but {stage.result} is not there.")

    def _note(self, stage: Stage, key: str, finished: bool, minutes: float | None = None) -> None:
        note = {"key": key, "finished": finished, "minutes": minutes, "at": time.time_ns()}
        self.records[stage.name] = note
        with replace_files(self.path.parent) as beside:
            (beside / self.path.name).write_text(json.dumps(self.records, indent=1) + "\n", encoding="utf-8")

    def _state(self, stage: Stage, key: str, ready: bool) -> str:
        record = self.records.get(stage.name)
        if record is None:
            if stage.verb not in IN_PLACE and _filled(stage.folder):
                return FOUND
            return NEW if ready else WAITS
        if not ready:
            return WAITS
        if record["key"] != key:
            return CHANGED
        return DONE if record["finished"] and stage.result.exists() else RESUMES

    def _key(self, stage: Stage, makers: Mapping[Path, Sequence[str]]) -> str:
        """Of all that its result depends on: options, files' contents, and the stages whose folders it reads."""

        def identity(word: str) -> str:
            made_by = [self.records.get(name, {}) for name in makers.get(_resolved(word), [])]
            if made_by:
                return "".join(f"{record.get('key')}@{record.get('at')}" for record in made_by)
            return _content(word)

        said = {name: [identity(word) for word in words] for name, words in stage.options.items() if name not in COSMETIC}
        return hashlib.sha256(json.dumps([stage.verb, said], sort_keys=True).encode()).hexdigest()[:16]


def _resolved(word: str) -> Path:
    return Path(word).resolve()


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _content(word: str) -> str:
    """What a file or a folder holds; any other word is itself."""
    path = Path(word)
    try:
        if not path.exists():
            return word
    except OSError:  # too long for a name: JSON, for example
        return word
    files = [path] if path.is_file() else sorted({file for pattern in IDENTITY for file in path.glob(pattern)})
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _set_aside(folder: Path, say: Callable[[str], None]) -> None:
    """Moves a folder away that was made of other inputs: nothing is lost, and nothing is resumed from it."""
    if not folder.exists():
        return
    number = next(n for n in range(1, 1000) if not folder.with_name(f"{folder.name}.old-{n}").exists())  # ends long before
    say(f"{folder} was made of other inputs: moved to {folder.name}.old-{number}")
    folder.rename(folder.with_name(f"{folder.name}.old-{number}"))
