# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The command `hf-dynbert`: a module of this folder for each verb. Nothing heavy is imported before a verb runs."""

import contextlib
import difflib
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from ..utils import quiet_imports  # noqa: F401  (before the imports of verbs)
from ..utils.errors import InputError, is_input_error, one_line
from ..version import __version__
from .parsing import make_parser, parse_arguments


PROG = "hf-dynbert"
# Each module has a DESCRIPTION, an EXAMPLE, `run`, and its dataclasses of options: ARGUMENTS, or `argument_classes()`
VERBS = ("train", "adapt", "search", "quantize", "evaluate", "benchmark", "predict", "convert", "push")
WRONG_INPUT, STOPPED = 2, 130  # exit statuses: as argparse has it, and as shells have it after Ctrl-C
USAGE = """usage: hf-dynbert VERB [RECIPE.yaml] [--option value ...]

{verbs}

A recipe is a YAML file of options; options of the command line override it.
hf-dynbert VERB --help (or hf-dynbert help VERB) shows the options of a verb, hf-dynbert --version the version.
--debug shows the traceback of every error.

example: hf-dynbert predict --model outputs/model --question "Who built it?" --context "Ada Marsh built the tower.\""""


def main(argv: list[str] | None = None, before_work: Callable[[], None] | None = None) -> int:
    """Runs the command with the arguments of the process, or with `argv`. Calls `before_work` before a verb runs.

    Returns:
        `int`: exit status: 0; 2 for wrong input, with one line on standard error; 130 after Ctrl-C. A fault of the program
        raises its error.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    with _noted_interrupts() as interrupts:

        def begin_work() -> None:
            if before_work is not None:
                before_work()
            if interrupts:
                raise KeyboardInterrupt

        try:
            return _dispatch([word for word in argv if word != "--debug"], begin_work)
        except (Exception, KeyboardInterrupt) as error:
            if interrupts or isinstance(error, KeyboardInterrupt):
                print(f"\n{PROG}: stopped.", file=sys.stderr)
                return STOPPED
            if not is_input_error(error):
                raise
            if "--debug" in argv:
                traceback.print_exc()
            print(f"{PROG}: {one_line(error)}", file=sys.stderr)
            return WRONG_INPUT


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Yields a list that has an entry after Ctrl-C.

    C++ code that calls Python, such as the export to OpenVINO, turns `KeyboardInterrupt` into another error, and some
    imports of other libraries ignore it.
    """
    interrupts: list[int] = []

    def note(number, frame) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    is_ours = threading.current_thread() is threading.main_thread()  # other threads cannot set handlers
    is_ours = is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _dispatch(argv: list[str], begin_work: Callable[[], None]) -> int:
    if not argv or argv[0] in ("-h", "--help") or argv == ["help"]:
        print(USAGE.format(verbs="\n".join(f"  {name:<10} {_module(name).DESCRIPTION}" for name in VERBS)))
        return 0 if argv else WRONG_INPUT
    if argv[0] in ("--version", "version"):
        print(f"hf_dynbert {__version__}")
        return 0
    if argv[0] == "help":
        argv = [argv[1], "--help"]
    name, words = argv[0], argv[1:]
    if name not in VERBS:
        nearest = difflib.get_close_matches(name, VERBS, n=1, cutoff=0)[0]
        raise InputError(f"verb {name!r} is unknown; the nearest valid one is {nearest}. See {PROG} --help.")
    verb, prog = _module(name), f"{PROG} {name}"
    if {"--help", "-h"} & set(words) and hasattr(verb, "short_help"):
        print(verb.short_help(prog))
        return 0
    classes = argument_classes(name)
    if {"--help-all", "--help", "-h"} & set(words):
        print(make_parser(prog, classes, verb.DESCRIPTION, verb.EXAMPLE, getattr(verb, "GROUPS", None)).format_help())
        return 0
    begin = time.perf_counter()
    arguments = parse_arguments(words, classes, prog)
    begin_work()
    verb.run(*arguments)
    if os.environ.get("RANK", "0") == "0":  # one of several training processes reports
        print(f"{name} took {(time.perf_counter() - begin) / 60:.1f} minutes", file=sys.stderr)
    return 0


def argument_classes(verb: str) -> tuple[type, ...]:
    """Dataclasses whose fields are the options of a verb."""
    module = _module(verb)
    return module.argument_classes() if hasattr(module, "argument_classes") else module.ARGUMENTS


def _module(verb: str):
    return importlib.import_module(f".{verb}", __package__)


if __name__ == "__main__":
    sys.exit(main())
