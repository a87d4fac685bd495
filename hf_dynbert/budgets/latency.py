# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The clock of all latencies of this package, so that they can be compared, and the name of the machine."""

import functools
import os
import platform
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..utils.errors import check_number


CPUINFO = Path("/proc/cpuinfo")
# Names that Linux gives to instructions for 8-bit products, the fastest first
INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512",
    "avx2": "AVX2",
    "i8mm": "I8MM",
    "asimddp": "DotProd",
}
WARMUP = 2  # calls of each variant before the first timed call: a runtime compiles kernels and allocates memory in them
# Calls in a row of one variant, as a server makes them. The first is not timed: the caches hold other weights then
BURST = 4
TURNS = 5  # bursts of each variant: 15 timed calls, so that the median ignores a disturbance of two bursts
ROUND_TURNS = 2  # turns of one of the rounds that must agree: 6 timed calls
MAX_ROUNDS = 5  # so many rounds at most: a machine on which no two in a row agree is busy all the time
NOISE_LIMIT = 0.2  # neighbours that take a core change latencies by half and more; a quiet machine stays well under this


@dataclass(frozen=True)
class Latency:
    """Latency of a call, in milliseconds.

    Args:
        median_ms (`float`): median over the timed calls.
        p90_ms (`float`): 90th percentile over the timed calls.
        spread (`float`): interquartile range divided by the median. A high spread is the sign of a busy machine.
    """

    median_ms: float
    p90_ms: float
    spread: float

    @property
    def is_noisy(self) -> bool:
        """Whether the spread is above `NOISE_LIMIT`."""
        return self.spread > NOISE_LIMIT


def time_in_turns(
    call: Callable[[Hashable], object],
    variants: Sequence,
    turns: int = TURNS,
    on_turn: Callable[[], object] | None = None,
    burst: int = BURST,
) -> list[Latency]:
    """Times the variants of a function in turns, so that a disturbance affects all variants alike.

    Args:
        call (`Callable`): takes one variant. On an accelerator it must wait for the result.
        variants (`list`): what to time: models, budgets, inputs.
        turns (`int`, *optional*, defaults to 5): number of bursts of each variant.
        on_turn (`Callable`, *optional*): called after each turn, for a progress bar.
        burst (`int`, *optional*, defaults to 4): calls of a variant in a row, of which all but the first are timed.

    Returns:
        `list[Latency]`: one for each variant, in their order.

    Raises:
        ValueError: `turns` is below 1.
    """
    check_number("turns", turns, 1, example=TURNS)
    for variant in variants:
        for _ in range(WARMUP):
            call(variant)
    times = [[] for _ in variants]
    for turn in range(turns):
        first = turn * len(variants) // turns  # turns start at different variants: no variant always follows the same one
        for index in [*range(first, len(variants)), *range(first)]:
            call(variants[index])
            for _ in range(burst - 1):
                begin = time.perf_counter()
                call(variants[index])
                times[index].append(1000 * (time.perf_counter() - begin))
        if on_turn is not None:
            on_turn()
    return [_summary(values) for values in times]


def run_model(model, inputs: dict[str, torch.Tensor], **arguments) -> None:
    """Calls a model on its device, and waits for the result: on an accelerator, a call returns before it."""
    device = getattr(model, "device", None)
    on_accelerator = isinstance(device, torch.device) and device.type != "cpu"
    if on_accelerator:
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
    with torch.inference_mode():
        model(**inputs, **arguments)
    if on_accelerator:
        torch.get_device_module(device).synchronize(device)


def measure_repeatably(call: Callable[[Hashable], object], variants: Sequence) -> tuple[list[float], bool]:
    """Milliseconds of each variant, timed in rounds until two rounds in a row agree, and whether two rounds agreed.

    Two rounds agree if no median differs by more than `NOISE_LIMIT` and no spread is above it.
    """
    rounds = [time_in_turns(call, variants, ROUND_TURNS)]
    while len(rounds) < MAX_ROUNDS:
        rounds.append(time_in_turns(call, variants, ROUND_TURNS))
        before, after = rounds[-2:]
        if all(_agree(*pair) for pair in zip(before, after, strict=True)):
            return [(a.median_ms + b.median_ms) / 2 for a, b in zip(before, after, strict=True)], True
    fastest = min(rounds, key=lambda latencies: sum(latency.median_ms for latency in latencies))
    return [latency.median_ms for latency in fastest], False


def _summary(times: Sequence[float]) -> Latency:
    lower, median, upper, p90 = np.percentile(times, [25, 50, 75, 90]).tolist()
    return Latency(median, p90, (upper - lower) / median if median else 0.0)


def _agree(first: Latency, second: Latency) -> bool:
    low, high = sorted([first.median_ms, second.median_ms])
    return high <= (1 + NOISE_LIMIT) * low and not first.is_noisy and not second.is_noisy


def machine_name(threads: int, cpuinfo: Path = CPUINFO) -> str:
    """Returns the CPU, its best instructions for 8-bit products that are present and allowed, and the threads, on one line.

    The instructions belong to the name because clouds call CPUs of several generations by one name.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")  # PyTorch and OpenVINO obey it
    name, best = _cpu(cpuinfo)
    instructions = [*best, *([f"ONEDNN_MAX_CPU_ISA={limit}"] if limit else [])]
    return f"{name} ({', '.join(instructions)}), {threads} threads" if instructions else f"{name}, {threads} threads"


@functools.cache  # the file has a block for every core and takes milliseconds to read
def _cpu(cpuinfo: Path) -> tuple[str, list[str]]:
    """The CPU's name and the best of its `INSTRUCTIONS`, as a list of none or one."""
    name, fields = platform.processor() or platform.machine(), {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, separator, value = line.partition(":")
            if separator:
                fields[key.strip()] = value.strip()
        parts = [fields.get(key) for key in ("CPU implementer", "CPU part")]  # ARM has these in place of a name
        name = fields.get("model name") or " ".join([name, *filter(None, parts)])
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return name, [label for flag, label in INSTRUCTIONS.items() if flag in flags][:1]
