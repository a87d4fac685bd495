# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""VNNI, the CPU feature that int8 weights of 8 bits need: whether this CPU has it, and whether a model needs it."""

import logging
from pathlib import Path

import openvino


CPUINFO = Path("/proc/cpuinfo")
OVERFLOW_FIX = ["hf_dynbert", "overflow_fix"]  # where a graph stores the `overflow_fix` of its weights

logger = logging.getLogger(__name__)


def has_vnni() -> bool | None:
    """Returns whether this CPU has VNNI, which sums 8-bit products in 32 bits; `None` on systems other than Linux."""
    return "_vnni" in CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else None


def overflow_fix() -> str:
    """Returns NNCF's option. Without VNNI, sums of 8-bit products overflow in 16 bits, unless weights have 7 bits."""
    if has_vnni() is False:  # None counts as VNNI, which most CPUs have
        logger.warning("This CPU has no VNNI: layers that could overflow get 7-bit weights, which are slightly less exact.")
        return "enable"
    return "disable"


def warn_of_overflow(model: openvino.Model) -> None:
    """Logs a warning if int8 weights that were made on a CPU with VNNI are to run on a CPU without it."""
    if model.has_rt_info(OVERFLOW_FIX) and model.get_rt_info(OVERFLOW_FIX).value == "disable" and has_vnni() is False:
        logger.warning(
            "This int8 model was made on a CPU with VNNI, and this CPU has none: sums may overflow and worsen answers. "
            "Quantize it on this CPU, which makes 7-bit weights: hf-dynbert quantize RECIPE.yaml --model CHECKPOINT."
        )
