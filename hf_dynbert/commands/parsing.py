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


WIDEST, SHORT = 125, 60  # characters of a line of help, and of a description that is not shortened
TRUE, FALSE = ("true", "yes", "y", "1", "t"), ("false", "no", "n", "0", "f")
# Least value of options that count or measure something, whichever verb has them
AT_LEAST_ZERO = ("accuracy_samples", "latency_samples", "max_latency_ms", "seed", "speedup", "stride")
AT_LEAST_ONE = ("batch_size", "calibration_samples", "eval_samples", "limit", "max_answer_len")
AT_LEAST_ONE += ("block_rows", "max_length", "max_train_samples", "num_workers", "threads", "top_k")
# Options of a recipe that `--train_file` of the command line replaces
OF_A_DATASET = ("dataset_name", "dataset_config_name")
# Other names of options: recipes of old runs have some
OTHER_NAMES = {
    "held_out": "validation_fraction",
    "max_f1_drop": "max_drop",
    "length_config": "budget",
    "padded_length": "max_length",
}
# One entry of the "Args:" of a docstring: names, type, and the text, which continues on lines that are indented further
ENTRY = r"^    (\w+(?:, \w+)*)(?: \(.*\))?:\s+(.*(?:\n     .*)*)"


class Parser(argparse.ArgumentParser):
    """`argparse` whose errors are exceptions: one line, without the usage."""

    def error(self, message: str) -> typing.NoReturn:
        """Raises an [`InputError`]."""
        message = message.replace("argument --", "option --")
        if message.startswith("the following arguments are required: "):
            message = f"needs {message.partition(': ')[2]}"
        raise InputError(f"{self.prog.partition(' ')[2]} {message}. See {self.prog} --help.")


def parse_arguments(argv: Sequence[str], classes: Sequence[type], prog: str = "hf-dynbert") -> tuple:
    """Reads a recipe, if the first word is not an option, and the options, which override the recipe.

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
    has_recipe = bool(argv) and not argv[0].startswith("-")
    given = _normal(argv[1:] if has_recipe else argv, fields)
    options: list[str] = []
    for name, value in (_recipe_values(argv[0], fields) if has_recipe else {}).items():
        if name in OF_A_DATASET and any(word.partition("=")[0] == "--train_file" for word in given):
            continue
        values = value if isinstance(value, list) else [value]
        # with "=", a value may begin with a dash
        options += [f"--{name}", *values] if len(values) > 1 else [f"--{name}={values[0]}"]
    found, rest = make_parser(prog, classes).parse_known_args([*options, *given])
    if rest:
        raise InputError(f"{' '.join(rest)!r} belongs to no option. Options are written --name value.")
    values = vars(found)
    for name in values.keys() & {*AT_LEAST_ZERO, *AT_LEAST_ONE}:
        check_number(f"--{name}", values[name], least=int(name in AT_LEAST_ONE))
    return tuple(
        item(**{field.name: values[field.name] for field in dataclasses.fields(item) if field.name in values})
        for item in classes
    )


def _recipe_values(path: str, fields: Mapping[str, object]) -> dict[str, str | list[str]]:
    """The values of a recipe by the names of the fields; refuses keys that are no options."""
    values = {_current_name(key, fields): value for key, value in read_recipe(path).items()}
    for name in values:
        if name not in fields:
            raise InputError(unknown(f"{path}: key {name!r}", name, fields))
    return values


def option_fields(classes: Sequence[type]) -> dict[str, tuple[dataclasses.Field, object]]:
    """Name to field and type of all options, in the order of the classes."""
    hints = {item: typing.get_type_hints(item) for item in classes}
    return {
        field.name: (field, hints[item][field.name]) for item in classes for field in dataclasses.fields(item) if field.init
    }


def make_parser(
    prog: str,
    classes: Sequence[type],
    description: str = "",
    example: str = "",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Parser:
    """The parser of a verb; `format_help` returns its help.

    The result has no entry for an option that is not given, so the dataclass sets the default.

    Args:
        prog, description, example (`str`): name of the command, what it does, and a call that works.
        classes (`list[type]`): dataclasses whose fields are the options.
        groups (`dict[str, list[str]]`, *optional*): title to options; options without a group follow under "other options".
    """
    fields, descriptions = option_fields(classes), option_descriptions(classes)
    required = [name for name, (field, _) in fields.items() if _default(field) is dataclasses.MISSING]
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    parser = Parser(
        prog=prog,
        usage=" ".join([prog, "[RECIPE.yaml]", *(f"--{name} ..." for name in required), "[--option value ...]"]),
        description=description,
        epilog=f"example: {example}",
        add_help=False,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=width),
    )
    titles = {name: title for title, names in (groups or {}).items() for name in names}
    rest = "other options" if groups else "options"
    sections = {}
    for name in sorted(fields, key=lambda name: name not in required):
        title = titles.get(name, "required" if name in required else rest)
        if title not in sections:
            sections[title] = parser.add_argument_group(title)
        _add_option(sections[title], *fields[name], descriptions.get(name, ""))
    return parser


def _add_option(section, field: dataclasses.Field, annotation: object, description: str) -> None:
    """Adds the option of a field to a section of the parser."""
    read, many, choices = _reader(annotation)
    choices = field.metadata.get("choices", choices)
    settings = {"type": read, "choices": choices, "default": argparse.SUPPRESS}
    settings["required"] = _default(field) is dataclasses.MISSING
    if many:
        settings["nargs"] = "+"
    if read is _read_bool:
        settings |= {"nargs": "?", "const": True, "metavar": "true|false"}
    elif not choices:
        settings["metavar"] = "TEXT" if read is str else "VALUE"
    text = field.metadata.get("help", description) + _default_text(field)
    section.add_argument(f"--{field.name}", help=text.replace("%", "%%"), **settings)


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """A message that something is unknown, with the nearest valid name."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0)
    return f"{what} is unknown; the nearest valid one is {close[0]}."


def option_descriptions(classes: Sequence[type]) -> dict[str, str]:
    """Name to the first sentence, or clause, about it in the `Args:` of the docstring of its dataclass, or of a base class.

    A line `name (type): text` or `name, other (type): text` starts the text of one option or of several.
    """
    found: dict[str, str] = {}
    for base in (base for item in classes for base in item.__mro__):
        section = re.search(r"^Args:\n((?:    .*\n|\n)+)", f"{inspect.getdoc(base)}\n", re.M)
        for names, text in re.findall(ENTRY, section[1] if section else "", re.M):
            sentence = re.split(r"(?<=\.) (?=[A-Z`])", " ".join(text.split()))[0]
            sentence = sentence[:1].upper() + sentence[1:]
            plain = re.sub(r"\[`~?(?:\w+\.)*(\w+)`\]", r"\1", sentence).replace("`", "")
            if len(plain) > SHORT:  # without remarks in parentheses, the first clause
                plain = re.split(r"[;:] |, which |\.$", re.sub(r" \([^()]*\)", "", plain))[0] + "."
            found |= {name: plain for name in names.split(", ") if name not in found}
    return found


def _default(field: dataclasses.Field) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _default_text(field: dataclasses.Field) -> str:
    default = _default(field)
    if default in (dataclasses.MISSING, None, "", False) or default == []:
        return ""
    shown = " ".join(map(str, default)) if isinstance(default, list) else getattr(default, "value", default)
    return f" (default: {'true' if shown is True else shown})"


def _normal(words: Sequence[str], fields: Mapping[str, object]) -> list[str]:
    """The words with options as they are declared: `--a-b` is `--a_b`, `--no_a` is `--a=false`.

    Raises:
        InputError: an unknown option.
    """
    normal = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = _current_name(name.replace("-", "_"), fields)
            positive = name.removeprefix("no_")
            if name in fields:
                word = f"--{name}{equals}{value}"
            elif positive in fields and not equals and _reader(fields[positive][1])[0] is _read_bool:
                word = f"--{positive}=false"
            else:
                raise InputError(unknown(f"option --{name}", name, fields))
        normal.append(word)
    return normal


def _current_name(name: str, fields: Mapping[str, object]) -> str:
    return OTHER_NAMES[name] if name not in fields and OTHER_NAMES.get(name) in fields else name


def _reader(annotation: object) -> tuple[typing.Callable, bool, list | None]:
    """How a value of a type is read: a function of one word, whether several words are given, and the valid values."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(annotation) if is_union else [annotation]) if kind is not type(None)]
    for kind in kinds:
        if typing.get_origin(kind) is list and typing.get_args(kind)[0] in (str, int, float):
            return typing.get_args(kind)[0], True, None
        if typing.get_origin(kind) is typing.Literal:
            return str, False, list(typing.get_args(kind))
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return str, False, [member.value for member in kind]
    if set(kinds) == {bool, str}:
        return _read_bool_or_text, False, None
    for kind in (str, float):  # mappings of TrainingArguments are texts too, which it reads as JSON
        if kind in kinds:
            return kind, False, None
    return {bool: _read_bool, int: int}.get(kinds[0], _read_json), False, None


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
