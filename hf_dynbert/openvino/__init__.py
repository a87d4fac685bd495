# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""OpenVINO: export, runtime classes, and registration with Optimum-Intel. Needs the `intel` extra.

Importing this package registers our architecture with Optimum, so that Optimum's own classes, `optimum-cli` and libraries
with `backend="openvino"` export our checkpoints.
"""

import sys


def _import_without_telemetry() -> None:
    """Imports OpenVINO, NNCF and Optimum-Intel, with their telemetry switched off for this process.

    Their imports connect to an analytics host and write into the home folder, also with `HF_HUB_OFFLINE=1`. They use a
    stub if the telemetry package is missing, so this function hides it while they are imported. A package that was imported
    before keeps its telemetry.
    """
    hidden = "openvino_telemetry"
    before = sys.modules.get(hidden)
    sys.modules[hidden] = None  # makes `import openvino_telemetry` raise ImportError
    try:
        import nncf  # noqa: F401
        import openvino  # noqa: F401
        import optimum.intel  # noqa: F401
    finally:
        if before is None:
            del sys.modules[hidden]
        else:
            sys.modules[hidden] = before


_import_without_telemetry()

from . import export  # noqa: E402, F401  (importing this module registers the architecture with Optimum)
