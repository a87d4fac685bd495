"""Compares search methods at equal numbers of evaluations, on a table of F1 over two drops of the released model.

python recipes/quala-minilm-squad/compare_searches.py measure --data train.json ... --table outputs/searches.json
python recipes/quala-minilm-squad/compare_searches.py compare --table outputs/searches.json

`measure` runs the model at each node of a 12 x 12 table on validation questions, and stores each node at once: a second
call continues. `compare` runs every search method on the table, without calls of the model; F1 between the nodes is
interpolated linearly. The cost is the share of full length's MACs, which has no timing noise.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hf_dynbert.budgets.search.pareto import Point, pareto_front
from hf_dynbert.budgets.search.space import LengthSpace


sys.path.insert(0, str(Path(__file__).parent))
from evolution import evolve  # noqa: E402 (a script of this folder)


LEVELS = 12  # of each drop
SMALLEST = 0.06  # smallest share of the tokens that a drop keeps: as in training (the budget `third`)
HELD_OUT = 0.1  # as in distil.yaml and length_drop.yaml
EVALUATIONS = (36, 64, 100, 144)  # grids of 6 x 6 to 12 x 12
SEEDS = 5  # of each method with chance; the grid has none
LOSSES = (0.01, 0.02, 0.03)  # of full length's F1
MAX_LOSS = 0.06  # as in search.yaml: configurations that lose more are of no interest


def nodes() -> list[tuple[float, float]]:
    """Returns the pairs of shares that the table holds: the first falls from 1 to `SMALLEST`, the second from the first."""
    pairs = []
    for first_level in range(LEVELS - 1, -1, -1):
        first = SMALLEST + (1 - SMALLEST) * first_level / (LEVELS - 1)
        for second_level in range(LEVELS - 1, -1, -1):
            second = SMALLEST + (first - SMALLEST) * second_level / (LEVELS - 1)
            pair = (round(first, 4), round(second, 4))
            if pair not in pairs:
                pairs.append(pair)
    return pairs


def measure(args: argparse.Namespace) -> None:
    """Measures the nodes that `args.table` does not hold yet."""
    from transformers import AutoTokenizer

    from hf_dynbert import count_macs
    from hf_dynbert.loading import load
    from hf_dynbert.tasks import QuestionAnsweringEvaluator
    from hf_dynbert.tasks.question_answering.squad import load_squad, split_by_article

    model, tokenizer = load(args.model, threads=args.threads), AutoTokenizer.from_pretrained(args.model)
    _, held_out = split_by_article(load_squad(args.data), HELD_OUT)
    sample = QuestionAnsweringEvaluator(tokenizer, held_out.shuffle(seed=0).select(range(args.questions)))
    first_layer, second_layer = model.config.drop_layers
    table = json.loads(args.table.read_text(encoding="utf-8")) if args.table.is_file() else []
    measured = {(entry["first"], entry["second"]) for entry in table}
    full_macs = sum(count_macs(model.config, None, length) for length in sample.lengths)
    args.table.parent.mkdir(parents=True, exist_ok=True)
    for first, second in nodes():
        if (first, second) in measured:
            continue
        shares = [1.0] * first_layer + [first] * (second_layer - first_layer)
        shares += [second] * (model.config.num_hidden_layers - second_layer)
        f1 = sample(model, shares)["f1"]
        macs = sum(count_macs(model.config, shares, length) for length in sample.lengths)
        table.append({"first": first, "second": second, "f1": f1, "macs": macs / full_macs})
        written = args.table.with_suffix(".part")
        written.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        os.replace(written, args.table)
        print(f"{len(table)}: {first:.4f}, {second:.4f}: F1 {f1:.2f}, MACs {100 * macs / full_macs:.1f} %", flush=True)


class Table:
    """F1 and cost of any two shares, interpolated linearly between the measured nodes.

    Args:
        entries (`list[dict]`): the measured nodes, all of them.
    """

    def __init__(self, entries: list[dict]):
        known = {(entry["first"], entry["second"]): (entry["f1"], entry["macs"]) for entry in entries}
        if missing := [pair for pair in nodes() if pair not in known]:
            raise SystemExit(f"{len(missing)} of {len(nodes())} nodes are not measured yet: run `measure` first.")
        self.values = np.empty((LEVELS, LEVELS, 2))  # level of the first share, part of it that the second keeps
        for first_level in range(LEVELS):
            for second_level in range(LEVELS):
                first = SMALLEST + (1 - SMALLEST) * first_level / (LEVELS - 1)
                second = SMALLEST + (first - SMALLEST) * second_level / (LEVELS - 1)
                self.values[first_level, second_level] = known[round(first, 4), round(second, 4)]
        self.full = float(self.values[-1, -1, 0])

    def __call__(self, first: float, second: float) -> tuple[float, float]:
        """F1 and share of full length's MACs."""
        row = (LEVELS - 1) * (first - SMALLEST) / (1 - SMALLEST)
        column = (LEVELS - 1) * (second - SMALLEST) / (first - SMALLEST) if first > SMALLEST else LEVELS - 1
        low_row, low_column = (int(min(max(place, 0), LEVELS - 2)) for place in (row, column))
        part_row, part_column = row - low_row, column - low_column
        corners = self.values[low_row : low_row + 2, low_column : low_column + 2]
        weights = np.outer([1 - part_row, part_row], [1 - part_column, part_column])
        f1, macs = (corners * weights[..., None]).sum(axis=(0, 1))
        return float(f1), float(macs)


def hypervolume(points: Sequence[Point], worst: Point) -> float:
    """The area between the front of some points and a point that has the worst cost and the worst score."""
    inside = [point for point in points if point[0] < worst[0] and point[1] > worst[1]]
    front = [inside[index] for index in pareto_front(inside)]
    ends = [cost for cost, _ in front[1:]] + [worst[0]]
    return sum((end - cost) * (score - worst[1]) for (cost, score), end in zip(front, ends, strict=True))


def cost_at(points: Sequence[Point], score: float) -> float | None:
    """The cost of a score on the front of some points, interpolated linearly between two points."""
    before = None
    for index in pareto_front(points):
        cost, reached = points[index]
        if reached >= score:
            if before is None:
                return cost
            part = (score - before[1]) / (reached - before[1])
            return before[0] + part * (cost - before[0])
        before = points[index]
    return None


def search(method: str, table: Table, num_evaluations: int, seed: int) -> list[Point]:
    """Returns cost and score of each configuration that a method evaluates."""
    if method == "evolution":
        return evolve(lambda shares: table(*shares), 2, SMALLEST, num_evaluations, seed)
    from hf_dynbert.budgets.search.optuna_search import search_length_configs

    space = LengthSpace(2, smallest=SMALLEST)
    result = search_length_configs(
        lambda shares: table(*shares),
        space,
        num_evaluations,
        method,
        seed=seed,
        min_score=(1 - MAX_LOSS) * table.full,
        progress=False,
    )
    return [(one.cost, one.score) for one in result.measured]


def compare(args: argparse.Namespace) -> None:
    """Prints a table of the methods at equal numbers of evaluations."""
    table = Table(json.loads(args.table.read_text(encoding="utf-8")))
    worst = (1.0, (1 - MAX_LOSS) * table.full)
    every = [entry["f1"] for entry in json.loads(args.table.read_text(encoding="utf-8"))]
    print(f"{args.seeds} seeds; full length F1 {table.full:.2f}, the table's nodes {min(every):.2f} to {max(every):.2f}")
    losses = [f"MACs at {100 * loss:g} % loss" for loss in LOSSES]
    print("| evaluations | method | " + " | ".join(losses) + " | hypervolume |")
    print("| --- | --- | " + "--- | " * len(losses) + "--- |")
    for num_evaluations in EVALUATIONS:
        for method in ("grid", "tpe", "nsga2", "evolution"):
            columns = [[] for _ in range(len(LOSSES) + 1)]
            for seed in range(1 if method == "grid" else args.seeds):
                # Every search measures full length too
                points = [(1.0, table.full), *search(method, table, num_evaluations, seed)]
                for column, loss in zip(columns, LOSSES, strict=False):
                    column.append(100 * cost_at(points, (1 - loss) * table.full))
                columns[-1].append(hypervolume(points, worst))
            cells = [
                f"{statistics.mean(column):.{decimals}f}{_deviation(column, decimals)}"
                for column, decimals in zip(columns, [1] * len(LOSSES) + [3], strict=True)
            ]
            print(f"| {num_evaluations} | {method} | " + " | ".join(cells) + " |", flush=True)


def _deviation(values: list[float], decimals: int) -> str:
    return f" ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""


def main() -> None:
    """Runs one of the two parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["measure", "compare"])
    parser.add_argument("--table", type=Path, required=True, help="JSON file of measured nodes")
    parser.add_argument("--model", default="recipes/quala-minilm-squad/checkpoint", help="folder of the model")
    parser.add_argument("--data", nargs="+", help="SQuAD training files; a tenth of the articles is the validation split")
    parser.add_argument("--questions", type=int, default=300, help="validation questions that score a node")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    if args.part == "measure":
        measure(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
