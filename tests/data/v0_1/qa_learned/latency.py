# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""How long calls take, side by side, and what this machine said before."""

import hashlib
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from huggingface_hub.constants import HF_HOME


logger = logging.getLogger(__name__)

CPUINFO = Path("/proc/cpuinfo")
# What Linux calls them, the fastest first
INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512",
    "avx2": "AVX2",
    "i8mm": "I8MM",
    "asimddp": "DotProd",
}
WARMUP = 2  # calls of each that are not timed: the first compiles kernels and fills caches
BURST = 3  # calls in a row of one, as a server makes them; the first of them is not timed


def measure_latencies(call: Callable[[Hashable], object], variants: Sequence, turns: int = 5) -> list[float]:
    """Times a function's variants in turns, so that whatever disturbs one disturbs all alike.

    Args:
        call (`Callable`): takes one of the variants.
        variants (`list`): what to time.
        turns (`int`, *optional*, defaults to 5): how often each has its turn of two timed calls.

    Returns:
        `list[float]`: the median of each, in milliseconds.
    """
    times = [[] for _ in variants]
    for variant in variants:
        for _ in range(WARMUP):
            call(variant)
    for turn in range(turns):
        first = turn * len(variants) // turns  # nobody always follows the same neighbour
        for index in [*range(first, len(variants)), *range(first)]:
            call(variants[index])
            for _ in range(BURST - 1):
                begin = time.perf_counter()
                call(variants[index])
                times[index].append(1000 * (time.perf_counter() - begin))
    return [statistics.median(found) for found in times]


def machine_name(threads: int) -> str:
    """CPU, the best instructions for 8-bit products that it has or is allowed, and threads; one line.

    Clouds call CPUs of several generations by one name.
    """
    name, told = platform.processor() or platform.machine(), {}
    if CPUINFO.exists():
        told = dict(line.split(":", 1) for line in CPUINFO.read_text(encoding="utf-8").splitlines() if ":" in line)
        told = {key.strip(): value.strip() for key, value in told.items()}
        parts = [told.get(key) for key in ("CPU implementer", "CPU part")]  # what ARM says instead of a name
        name = told.get("model name") or " ".join([name, *filter(None, parts)])
    flags = (told.get("flags") or told.get("Features") or "").split()
    best = [label for flag, label in INSTRUCTIONS.items() if flag in flags][:1]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")  # which PyTorch and OpenVINO obey
    can = [*best, *([f"ONEDNN_MAX_CPU_ISA={limit}"] if limit else [])]
    return f"{name} ({', '.join(can)}), {threads} threads" if can else f"{name}, {threads} threads"


def remembered(
    key: list, measure: Callable[[], list[float]], folder: str | Path | None = None
) -> tuple[list[float], Path, bool]:
    """What was measured under this key before, or now.

    Args:
        key (`list`): all that the measurement depends on, as JSON can write it.
        measure (`Callable`): measures.
        folder (`str` or `Path`, *optional*): where it is kept; in the cache of the Hub when not given.

    Returns:
        `list[float]`, `Path`, `bool`: the latencies, the file that keeps them, and whether they are new.
    """
    folder = Path(folder or Path(HF_HOME) / "hf_dynbert")
    path = folder / f"latency-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["latency_ms"]
        return [float(latency) for latency in found], path, False
    except (OSError, ValueError, KeyError, TypeError):  # never written, or not by us: measured anew
        pass
    found = measure()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as beside:
            json.dump({"key": key, "latency_ms": found}, beside)
        os.replace(beside.name, path)
    except OSError as error:  # a cache that cannot be written costs time, no more
        logger.warning(f"Latencies could not be kept in {folder}: {error}")
    return found, path, True
