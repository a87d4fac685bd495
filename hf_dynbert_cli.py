# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Entry point of the console script `hf-dynbert`.

`import hf_dynbert` registers the models with transformers, which takes seconds. This module lets the sub-modules that
describe the verbs be imported before the package itself, so that `hf-dynbert --help` answers at once.
"""

import importlib.util
import sys


PACKAGE = "hf_dynbert"


def main() -> int:
    """Runs the command.

    Returns:
        `int`: exit status.
    """
    if PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(PACKAGE)
        # A module with the package's path, whose own code has not run: `load` runs it before a verb does
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    from hf_dynbert.commands.main import main as run

    return run(before_work=load)


def load() -> None:
    """Runs the package's own code, if nobody imported it before."""
    module = sys.modules[PACKAGE]
    if not hasattr(module, "__version__"):
        module.__spec__.loader.exec_module(module)


if __name__ == "__main__":
    sys.exit(main())
