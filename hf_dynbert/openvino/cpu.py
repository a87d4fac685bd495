# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What this CPU can do with 8-bit numbers, and what int8 weights were made for."""

import logging
from pathlib import Path

import openvino


CPUINFO = Path("/proc/cpuinfo")
OVERFLOW_FIX = ["hf_dynbert", "overflow_fix"]  # where a graph remembers it

logger = logging.getLogger(__name__)


def has_vnni() -> bool | None:
    """Whether products of 8-bit numbers are summed in 32 bits; `None` where nobody says, elsewhere than on Linux."""
    return "_vnni" in CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else None


def overflow_fix() -> str:
    """NNCF's option: without VNNI these products overflow in 16 bits; weights of 7 bits do not."""
    if has_vnni() is False:  # most that do not say have it
        logger.warning("This CPU has no VNNI: weights get 7 bits in the layers that could overflow, a little less exact.")
        return "enable"
    return "disable"


def warn_of_overflow(model: openvino.Model) -> None:
    """Says so where int8 weights that were made on a CPU with VNNI are to run on one without."""
    if model.has_rt_info(OVERFLOW_FIX) and model.get_rt_info(OVERFLOW_FIX).value == "disable" and has_vnni() is False:
        logger.warning(
            "This int8 model was made on a CPU with VNNI, and this CPU has none: sums may overflow, answers be worse. Make "
            "it again here, where its weights get 7 bits: hf-dynbert quantize RECIPE.yaml --model CHECKPOINT."
        )
