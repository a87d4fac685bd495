# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Compares a threshold on learned importance (Learned Token Pruning, arXiv 2107.00910), which keeps fewer tokens of easy
questions, with fixed length configurations, on the validation split.

python compare_thresholds.py --model outputs/quala-minilm-squad-fp32 --train_file FILE.json ... --output thresholds.png

At a drop, a softmax of the scores gives each token of the passage a probability. `threshold` keeps the tokens above a
multiple of the uniform probability; `mass` keeps the fewest tokens with this total probability. Only the pass with the
resulting lengths is timed, at batch 1. The time for the decision is not included, so the rules are slower in practice.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import count_macs, load_squad, split_by_article, squad_metrics
from hf_dynbert.budgets.search.pareto import pareto_front
from hf_dynbert.subnetwork import dropping_layers
from hf_dynbert.tasks.question_answering import decode_answers, encode_windows
from hf_dynbert.utils.tables import markdown_table


FIRST, SECOND = 0, 3  # the layers that drop
FIXED = [(a, b) for a in (0.4, 0.505, 0.6, 0.72) for b in (0.04, 0.06, 0.11, 0.18, 0.275)]
RULES = {
    "threshold": [(a, b) for a in (0.1, 0.2, 0.35, 0.6) for b in (0.003, 0.01, 0.04, 0.15, 0.5)],
    "mass": [(a, b) for a in (0.6, 0.75, 0.85, 0.93) for b in (0.8, 0.93, 0.97, 0.99, 0.997)],
}


def main() -> None:
    """Measures, prints a table, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, default=0.1)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--output", type=Path, default=Path("outputs/thresholds.png"))
    args = parser.parse_args()
    model = AutoModelForQuestionAnswering.from_pretrained(args.model, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    _, data = split_by_article(load_squad(args.train_file), args.held_out)
    data = data.shuffle(seed=0).select(range(min(args.limit, len(data))))
    windows = encode_windows(tokenizer, data["question"], data["context"])
    count = np.bincount([window.example for window in windows])
    windows = [window for window in windows if count[window.example] == 1]  # nearly all questions have one
    results = measure(model, tokenizer, windows, data)
    full = results.pop(("full", None))
    fronts = {rule: front(results, rule) for rule in ("fixed", *RULES)}
    rows = []
    for rule, points in fronts.items():
        for setting, f1, macs, ms in points:
            at = [other for other in fronts["fixed"] if other[1] >= f1]  # what gives as much with the same lengths for all
            best = min(at, key=lambda other: other[2], default=None)
            cells = [f"{best[2] / full[1]:.3f}", f"{best[3] / full[2]:.2f}"] if best else ["-", "-"]
            own = [f"{f1:.2f}", f"{macs / full[1]:.3f}", f"{ms / full[2]:.2f}"]
            rows.append([rule, f"{setting[0]:g}, {setting[1]:g}", *own, *cells])
    columns = ["rule", "at layers 1, 4", "F1", "MACs ÷ full", "ms ÷ full", "fixed: MACs", "fixed: ms"]
    print(f"{len(windows)} held-out questions; full length: F1 {full[0]:.2f}, {full[2]:.1f} ms\n")
    print(markdown_table(columns, rows))
    draw(fronts, full, args.output)


@torch.inference_mode()
def measure(model, tokenizer, windows, data) -> dict:
    """(rule, setting) to F1, mean operations and mean milliseconds; all settings take turns on each question."""
    predictions, costs, times = defaultdict(dict), defaultdict(list), defaultdict(list)
    answers = {row["id"]: row["answers"]["text"] for row in data}

    def run(name, window, inputs, length_config) -> None:
        begin = time.perf_counter()
        output = model(**inputs, length_config=length_config or "full")
        times[name].append(1000 * (time.perf_counter() - begin))
        row = data[window.example]
        logits = (output.start_logits[0].numpy(), output.end_logits[0].numpy())
        best = decode_answers(row["context"], [window], [logits[0]], [logits[1]])[0]
        predictions[name][row["id"]] = best.answer
        costs[name].append(count_macs(model.config, length_config, inputs["input_ids"].shape[1]))

    for window in tqdm(windows, desc="Questions"):
        inputs = {name: torch.tensor([values]) for name, values in window.inputs.items()}
        model(**inputs)  # this length's kernels and memory
        run(("full", None), window, inputs, None)
        for first, second in FIXED:
            run(("fixed", (first, second)), window, inputs, [first] * SECOND + [min(first, second)] * (6 - SECOND))
        scores = Scores(model, inputs)
        for rule, settings in RULES.items():
            for setting in settings:
                run((rule, setting), window, inputs, scores.lengths(rule, *setting))
    return {
        name: (
            squad_metrics(found, {key: answers[key] for key in found})["f1"],
            float(np.mean(costs[name])),
            float(np.mean(times[name])),
        )
        for name, found in predictions.items()
    }


class Scores:
    """Learned importance at both drops for one question, cached."""

    def __init__(self, model, inputs):
        self.model, self.inputs, self.known = model, inputs, {}
        self.passage = inputs["token_type_ids"][0].bool()

    def lengths(self, rule: str, first: float, second: float) -> list[int]:
        """Numbers of tokens that leave the layers; the second drop removes the question."""
        kept = int((~self.passage).sum()) + how_many(self.at(FIRST, None)[self.passage], rule, first)
        scores = self.at(SECOND, kept)
        last = 1 + how_many(scores[self.passage & torch.isfinite(scores)], rule, second)
        return [kept] * SECOND + [min(last, kept)] * (6 - SECOND)

    def at(self, layer: int, kept: int | None) -> torch.Tensor:
        """The scores at a layer that `kept` tokens enter."""
        if (layer, kept) not in self.known:
            length_config = "full" if kept is None else [kept] * 6
            output = self.model(**self.inputs, output_token_scores=True, length_config=length_config)
            self.known[layer, kept] = output.token_scores[dropping_layers(self.model.config).index(layer)][0]
        return self.known[layer, kept]


def how_many(scores: torch.Tensor, rule: str, setting: float) -> int:
    """Tokens that the rule keeps, at least one."""
    parts = scores.softmax(dim=0).sort(descending=True).values
    if rule == "threshold":
        return max(1, int((parts > setting / len(parts)).sum()))
    return min(len(parts), 1 + int((parts.cumsum(dim=0) < setting).sum()))


def front(results: dict, rule: str) -> list[tuple]:
    """Setting, F1, operations and milliseconds of the settings that no other setting beats in F1 and operations."""
    points = [(setting, *found) for (name, setting), found in results.items() if name == rule]
    best = pareto_front([(point[2], point[1]) for point in points])
    return sorted((points[index] for index in best), key=lambda point: point[2])


def draw(fronts: dict, full: tuple, path: Path) -> None:
    """F1 against operations and against time."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, (place, label) in zip(figure.subplots(1, 2, sharey=True), ((2, "MACs"), (3, "milliseconds")), strict=True):
        for rule, points in fronts.items():
            axes.plot([point[place] / full[place - 1] for point in points], [point[1] for point in points], "o-", label=rule)
        axes.plot([1], [full[0]], "k*", label="full length")
        axes.set_xlabel(f"{label}, as a part of full length's")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("F1")
    figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
