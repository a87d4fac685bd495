# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Lets `optimum-cli export openvino` export our checkpoints.

Optimum imports every file of the namespace `optimum.commands.register` when `optimum-cli` starts. This file adds no command.
It registers our architecture, and only if `export openvino` runs, since the import of OpenVINO takes seconds.
"""

import contextlib
import sys


if sys.argv[1:3] == ["export", "openvino"]:
    with contextlib.suppress(ImportError):  # without the `intel` extra optimum-cli works as before
        import hf_dynbert.openvino  # noqa: F401
