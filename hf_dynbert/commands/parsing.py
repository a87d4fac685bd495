# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Options of a verb: fields of dataclasses, from a recipe and from the command line. Imports nothing heavy."""

import argparse
import dataclasses
import difflib
import enum
import inspect
import json
import re
import shutil
import types
import typing
from collections.abc import Mapping, Sequence

from ..utils.errors import InputError, check_number, one_line
from ..utils.recipe_files import read_recipe


WIDEST = 125  # characters of a line of help
TRUE, FALSE = ("true", "yes", "y", "1", "t"), ("false", "no", "n", "0", "f")
# Least value of options that count something, whichever verb has them
LEAST = {
    "accuracy_samples": 0,
    "augmentation_copies": 1,
    "batch_size": 1,
    "calibration_samples": 1,
    "eval_samples": 1,
    "latency_samples": 0,
    "limit": 1,
    "max_answer_len": 1,
    "max_latency_ms": 0,
    "max_length": 1,
    "max_macs": 0,
    "max_train_samples": 1,
    "padded_length": 1,
    "seed": 0,
    "speedup": 0,
    "stride": 0,
    "threads": 1,
    "top_k": 1,
}
# One entry of the "Args:" of a docstring: names, type, and the text, which continues on lines that are indented further
ENTRY = r"^    (\w+(?:, \w+)*)(?: \(.*\))?:\s+(.*(?:\n     .*)*)"
# Names that options had in earlier versions; recipes of old runs still have them
FORMER_NAMES = {"held_out": "validation_fraction", "max_f1_drop": "max_drop"}


class Parser(argparse.ArgumentParser):
    """`argparse` whose errors are exceptions: one line, without the usage."""

    def error(self, message: str) -> typing.NoReturn:
        """Raises an [`InputError`]."""
        message = message.replace("argument --", "option --")
        if message.startswith("the following arguments are required: "):
            message = f"needs {message.partition(': ')[2]}"
        raise InputError(f"{self.prog.partition(' ')[2]} {message}. See {self.prog} --help.")


def parse_arguments(argv: Sequence[str], classes: Sequence[type], prog: str = "hf-dynbert") -> tuple:
    """Reads a recipe, if the first word is none of the options, and options, which win over the recipe.

    Args:
        argv (`list[str]`): `[RECIPE.yaml] --option value ...`.
        classes (`list[type]`): dataclasses whose fields are the options.
        prog (`str`): name of the command, for messages.

    Returns:
        `tuple`: one instance of each class.

    Raises:
        InputError: an unknown option (the message names the nearest valid one), a value of a wrong type or out of range, a
            missing option, or a file that is not a recipe.
    """
    fields = option_fields(classes)
    words = list(argv)
    options: list[str] = []
    if words and not words[0].startswith("-"):
        path = words.pop(0)
        for name, value in read_recipe(path).items():
            name = _current_name(name, fields)
            if name not in fields:
                raise InputError(unknown(f"{path}: key {name!r}", name, fields))
            values = value if isinstance(value, list) else [value]
            # with "=", a value may begin with a dash
            options += [f"--{name}", *values] if len(values) > 1 else [f"--{name}={values[0]}"]
    parser = Parser(prog=prog, add_help=False, allow_abbrev=False)
    for name, (field, annotation) in fields.items():
        add_option(parser, name, field, annotation)
    found, rest = parser.parse_known_args([*options, *_normal(words, fields)])
    if rest:
        raise InputError(f"{' '.join(rest)!r} belongs to no option. Options are written --name value.")
    _check_ranges(vars(found))
    parsed = []
    for item in classes:
        names = [field.name for field in dataclasses.fields(item) if field.init]
        given = {name: getattr(found, name) for name in names if hasattr(found, name)}
        parsed.append(item(**given))
    return tuple(parsed)


def option_fields(classes: Sequence[type]) -> dict[str, tuple[dataclasses.Field, object]]:
    """Name to field and type of all options, in the order of the classes."""
    found = {}
    for item in classes:
        hints = typing.get_type_hints(item)
        for field in dataclasses.fields(item):
            if field.init:
                found[field.name] = (field, hints[field.name])
    return found


def add_option(parser, name: str, field: dataclasses.Field, annotation: object, text: str | None = None) -> None:
    """Adds the option of a field to a parser, or to a group of one.

    An option that is not given leaves no trace in the result, so that the dataclass sets the default.
    """
    settings: dict[str, object] = {"default": argparse.SUPPRESS, "required": is_required(field)}
    read, many, choices = _reader(annotation)
    choices = field.metadata.get("choices", choices)
    settings["type"] = read
    if many:
        settings["nargs"] = "+"
    if read is _read_bool:
        settings |= {"nargs": "?", "const": True, "metavar": "true|false"}
    elif choices:
        settings |= {"choices": choices}
    else:
        settings["metavar"] = "VALUE" if read is not str else "TEXT"
    parser.add_argument(f"--{name}", help=text, **settings)


def is_required(field: dataclasses.Field) -> bool:
    """Whether an option has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def help_text(
    prog: str,
    description: str,
    example: str,
    classes: Sequence[type],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The help of a verb: usage, description, options, one example.

    Args:
        prog (`str`): name of the command.
        description (`str`): what the verb does.
        example (`str`): a call that works.
        classes (`list[type]`): dataclasses whose fields are the options.
        groups (`dict[str, list[str]]`, *optional*): title to options; options of no group follow under "other options".
    """
    fields = option_fields(classes)
    descriptions = option_descriptions(classes)
    needed = [name for name, (field, _) in fields.items() if is_required(field)]
    words = [prog, "[RECIPE.yaml]", *(f"--{name} ..." for name in needed), "[--option value ...]"]
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=" ".join(words),
        description=description,
        epilog=f"example: {example}",
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=width),
    )
    titles = {name: title for title, names in (groups or {}).items() for name in names}
    sections = {}
    for name, (field, annotation) in fields.items():
        title = titles.get(name, "required" if is_required(field) else "other options" if groups else "options")
        if title not in sections:
            sections[title] = parser.add_argument_group(title)
        add_option(sections[title], name, field, annotation, _help(field, descriptions.get(name, "")))
    return parser.format_help()


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """A message that something is unknown, with the nearest valid name."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0)
    return f"{what} is unknown; the nearest valid one is {close[0]}."


def option_descriptions(classes: Sequence[type]) -> dict[str, str]:
    """Name to the first sentence about it in the `Args:` of the docstring of its dataclass, or of a base class.

    A line `name (type): text` or `name, other (type): text` starts the text of one option or of several.
    """
    found: dict[str, str] = {}
    for item in classes:
        for base in item.__mro__:
            section = re.search(r"^Args:\n((?:    .*\n|\n)+)", f"{inspect.getdoc(base)}\n", re.M)
            for names, text in re.findall(ENTRY, section[1] if section else "", re.M):
                sentence = re.split(r"(?<=\.) (?=[A-Z`])", " ".join(text.split()))[0]
                sentence = sentence[:1].upper() + sentence[1:]
                plain = re.sub(r"\[`~?(?:\w+\.)*(\w+)`\]", r"\1", sentence).replace("`", "")
                found |= {name: plain for name in names.split(", ") if name not in found}
    return found


def _help(field: dataclasses.Field, description: str) -> str:
    text = field.metadata.get("help", description)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if default not in (dataclasses.MISSING, None, "", False) and default != []:
        shown = " ".join(map(str, default)) if isinstance(default, list) else getattr(default, "value", default)
        shown = "true" if shown is True else shown
        text += f" (default: {shown})"
    return text.replace("%", "%%")


def _normal(words: Sequence[str], fields: Mapping[str, object]) -> list[str]:
    """The words with options as they are declared: `--a-b` is `--a_b`, `--no_a` is `--a=false`.

    Raises:
        InputError: an unknown option.
    """
    normal = []
    for word in words:
        if not word.startswith("--"):
            normal.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = _current_name(name.replace("-", "_"), fields)
        if name not in fields and name.startswith("no_") and name[3:] in fields and not equals:
            if _reader(fields[name[3:]][1])[0] is not _read_bool:
                raise InputError(f"--{name}: {name[3:]} is not true or false; valid is --{name[3:]} with a value.")
            normal.append(f"--{name[3:]}=false")
        elif name not in fields:
            raise InputError(unknown(f"option --{name}", name, fields))
        else:
            normal.append(f"--{name}{equals}{value}")
    return normal


def _current_name(name: str, fields: Mapping[str, object]) -> str:
    """The name of an option today, if it had another name in earlier versions."""
    return FORMER_NAMES[name] if name not in fields and FORMER_NAMES.get(name) in fields else name


def _check_ranges(values: Mapping[str, object]) -> None:
    for name, least in LEAST.items():
        value = values.get(name)
        if value is not None:
            check_number(f"--{name}", value, least)


def _reader(annotation: object) -> tuple[typing.Callable, bool, list | None]:
    """How a value of a type is read: a function of one word, whether several words are given, and the valid values."""
    kinds = [kind for kind in _members(annotation) if kind is not type(None)]
    for kind in kinds:
        if typing.get_origin(kind) is list and typing.get_args(kind)[0] in (str, int, float):
            return typing.get_args(kind)[0], True, None
        if typing.get_origin(kind) is typing.Literal:
            values = list(typing.get_args(kind))
            return type(values[0]), False, values
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return str, False, [member.value for member in kind]
    if kinds == [bool]:
        return _read_bool, False, None
    if set(kinds) == {bool, str}:
        return _read_bool_or_text, False, None
    if str in kinds:  # of transformers' arguments, mappings too, which they read as JSON
        return str, False, None
    if float in kinds:
        return float, False, None
    if kinds == [int]:
        return int, False, None
    return _read_json, False, None


def _members(annotation: object) -> list:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return list(typing.get_args(annotation))
    return [annotation]


def _read_bool(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return text.lower() in TRUE


def _read_bool_or_text(text: str) -> bool | str:
    return _read_bool(text) if text.lower() in ("true", "false") else text


def _read_json(text: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not JSON ({one_line(error)})") from error
