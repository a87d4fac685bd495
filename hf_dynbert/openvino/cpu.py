# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""8-bit products of this CPU, and the CPU that int8 weights were made for."""

import logging
from pathlib import Path

import openvino


CPUINFO = Path("/proc/cpuinfo")
OVERFLOW_FIX = ["hf_dynbert", "overflow_fix"]  # where a graph stores the option that its weights were made with

logger = logging.getLogger(__name__)


def has_vnni() -> bool | None:
    """Returns whether products of 8-bit numbers are summed in 32 bits; `None` on systems other than Linux."""
    return "_vnni" in CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else None


def overflow_fix() -> str:
    """Returns NNCF's option. Without VNNI, sums of 8-bit products overflow in 16 bits, unless weights have 7 bits."""
    if has_vnni() is False:  # None: most CPUs of other systems have it
        logger.warning("This CPU has no VNNI: weights get 7 bits in the layers that could overflow, a little less exact.")
        return "enable"
    return "disable"


def warn_of_overflow(model: openvino.Model) -> None:
    """Logs a warning if int8 weights that were made on a CPU with VNNI are to run on a CPU without it."""
    if model.has_rt_info(OVERFLOW_FIX) and model.get_rt_info(OVERFLOW_FIX).value == "disable" and has_vnni() is False:
        logger.warning(
            "This int8 model was made on a CPU with VNNI, and this CPU has none: sums may overflow, answers be worse. "
            "Make it again on this CPU, where its weights get 7 bits: hf-dynbert quantize RECIPE.yaml --model CHECKPOINT."
        )
