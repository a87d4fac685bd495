# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Entry point of the console script `hf-dynbert`.

`import hf_dynbert` registers the models with transformers, which takes seconds. This module lets the sub-modules that
describe the verbs be imported before the package itself, so that `hf-dynbert --help` answers at once.
"""

import importlib.util
import sys


def main() -> int:
    """Runs the command and returns its exit status."""
    try:
        spec = importlib.util.find_spec("hf_dynbert")
        if "hf_dynbert" not in sys.modules:
            sys.modules["hf_dynbert"] = importlib.util.module_from_spec(spec)  # its own code has not run
        from hf_dynbert.commands.main import main as run

        return run(before_work=lambda: load(spec))
    except KeyboardInterrupt:  # during the imports here; `run` reports one during its own work
        print("\nhf-dynbert: stopped.", file=sys.stderr)
        return 130


def load(spec) -> None:
    """Runs the package's own code, if nobody imported it before."""
    module = sys.modules["hf_dynbert"]
    if not hasattr(module, "__version__"):
        spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.exit(main())
