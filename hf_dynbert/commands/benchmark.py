# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert benchmark`: latencies, next to those of plain models."""

from ..benchmarking.arguments import BenchmarkArguments
from ..utils.atomic_files import check_writable
from ..utils.tables import print_table
from .checks import check_model, need_packages


DESCRIPTION = "Measure latencies of a model at its budgets, next to plain models, in PyTorch and OpenVINO, fp32 and int8."
EXAMPLE = "hf-dynbert benchmark --model outputs/model --int8 outputs/int8 --data dev-v1.1.json"
ARGUMENTS = (BenchmarkArguments,)


def run(args: BenchmarkArguments) -> None:
    """Measures, prints a table, and writes JSON, Markdown and a picture."""
    need_packages("benchmark", ("openvino", "nncf", "optimum", "matplotlib"), "intel")
    check_writable(args.output_dir)
    check_model(args.model, "--model")
    for folder in args.int8:
        check_model(folder, "--int8")
    from ..benchmarking.benchmark import table_of
    from ..benchmarking.entries import benchmark

    columns, rows = table_of(benchmark(args))
    print_table(columns, rows)
    print(f"Written: {args.output_dir}/benchmark.json, benchmark.md and benchmark.png.")
