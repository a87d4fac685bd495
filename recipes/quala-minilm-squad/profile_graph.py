# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Milliseconds of OpenVINO models by kind of operation, from the runtime's own counters.

python profile_graph.py --model outputs/quala-minilm-squad [--plain outputs/benchmark/models/minilm-l6/int8]

One input of random tokens, all models in turns. What the counters leave out (shapes, memory) is in the wall time.
"""

import argparse
import statistics
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import openvino

from hf_dynbert.openvino.modeling_openvino import PRECISION
from hf_dynbert.utils.folder_config import load_config
from hf_dynbert.utils.tables import markdown_table


WARMUP = 5  # calls that are not counted


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="OpenVINO folder of a length-adaptive model")
    parser.add_argument("--budgets", nargs="+", default=["full", "half", "third"])
    parser.add_argument("--plain", help="OpenVINO folder of a plain model")
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--rows", type=int, default=16, help="kinds to print, the costliest first")
    args = parser.parse_args()
    config = load_config(args.model)
    requests = {"plain": request_of(args.plain, args.threads)} if args.plain else {}
    for budget in args.budgets:
        request = requests[budget] = request_of(args.model, args.threads)
        encoded = config.resolve_budget(budget).encode(config)
        for state in request.query_state():
            state.state = openvino.Tensor(np.array(encoded, dtype=np.int32))
    wall, nodes = measure(requests, random_input(args.length), args.repeats)
    kinds = {name: by_kind(counters) for name, counters in nodes.items()}
    order = [kind for kind, _ in sum(kinds.values(), Counter()).most_common(args.rows)]
    rows = [["wall time", *(f"{wall[name]:.1f}" for name in requests)]]
    rows.append(["operations", *(str(len(nodes[name])) for name in requests)])
    rows.append(["their sum", *(f"{sum(kinds[name].values()):.1f}" for name in requests)])
    rows += [[kind, *(f"{kinds[name][kind]:.2f}" for name in requests)] for kind in order]
    machine = f"{args.length} tokens, {args.threads} threads, OpenVINO {openvino.__version__}"
    print(f"{machine}; ms, {args.repeats} turns of two calls: the median of the second, counters' means of both\n")
    print(markdown_table(["", *requests], rows))


def request_of(folder: str, threads: int) -> openvino.InferRequest:
    """A request with performance counters."""
    options = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", **PRECISION}
    return openvino.Core().compile_model(Path(folder) / "openvino_model.xml", "CPU", options).create_infer_request()


def random_input(length: int) -> dict[str, np.ndarray]:
    """A question of 14 tokens and a context."""
    ids = np.random.default_rng(0).integers(1000, 30000, (1, length))
    ids[0, 0], ids[0, [13, -1]] = 101, 102
    types = (np.arange(length) >= 14).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}


def measure(requests: dict, inputs: dict, repeats: int) -> tuple[dict[str, float], dict[str, dict]]:
    """Median milliseconds of each request, and mean ones of each of its operations by (name, type)."""
    for request in requests.values():
        for _ in range(WARMUP):
            request.infer(inputs)
    before = {name: counters_of(request, WARMUP) for name, request in requests.items()}
    wall = defaultdict(list)
    for _ in range(repeats):
        for name, request in requests.items():
            request.infer(inputs)  # not timed: the caches have the weights of other models
            begin = time.perf_counter()
            request.infer(inputs)
            wall[name].append(1000 * (time.perf_counter() - begin))
    calls, nodes = 2 * repeats, {}
    for name, request in requests.items():
        after = counters_of(request, WARMUP + calls)
        nodes[name] = {key: (total - before[name][key]) / calls for key, total in after.items()}
    return {name: statistics.median(times) for name, times in wall.items()}, nodes


def counters_of(request: openvino.InferRequest, calls: int) -> dict:
    """Milliseconds of each operation in all calls so far; the runtime gives the mean over them, slow first ones included."""
    return {
        (node.node_name, node.node_type): 1000 * node.real_time.total_seconds() * calls
        for node in request.get_profiling_info()
    }


def by_kind(counters: dict) -> Counter:
    """Sums over the operations of each kind."""
    sums = Counter()
    for (name, kind), milliseconds in counters.items():
        if "scaled_dot_product" in name or kind == "Subgraph":  # in f32 the runtime compiles all of attention into one
            kind = "attention"
        elif "token_scorer" in name:
            kind = "learned importance"
        elif kind.startswith("FullyConnected"):
            kind = "linear layers" if "encoder.layer" in name else "head"
        sums[kind] += milliseconds
    return sums


if __name__ == "__main__":
    main()
