# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Draws the tokens of a question and its passage before and after each layer that drops some; dropped tokens are grey.

python recipes/demo/draw_tokens.py --model outputs/demo/dynamic-minilm --length_config half --output tokens.png

The model is a PyTorch model, by default the one of `make demo-train`.
"""

import argparse
import json
from pathlib import Path

import torch
from matplotlib.figure import Figure
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

import hf_dynbert  # noqa: F401 (registers the model and the task)


DATA = Path(__file__).parents[1] / "data" / "held-out.json"  # written for this project
COLUMNS = 112  # characters of a line
ADVANCE = 0.602  # width of a character of DejaVu Sans Mono, in font sizes
INCHES, LINE = 10.0, 0.21  # width of the picture, height of a line
KEPT, DROPPED, ANSWER = "black", "0.8", "tab:green"


def main() -> None:
    """Answers a question and draws the tokens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="outputs/demo/dynamic-minilm")
    parser.add_argument("--length_config", default="half")
    parser.add_argument("--number", type=int, default=0, help="index of the question in recipes/data/held-out.json")
    parser.add_argument("--output", default="tokens.png")
    args = parser.parse_args()
    question, context = pair(args.number)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForQuestionAnswering.from_pretrained(args.model).eval()
    found = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(
        question=question, context=context, length_config=args.length_config
    )
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets, segments = encoded.pop("offset_mapping")[0].tolist(), encoded.sequence_ids()
    answer = [
        segment == 1 and begin < found["end"] and end > found["start"]
        for (begin, end), segment in zip(offsets, segments, strict=True)
    ]
    levels = surviving(model, encoded, args.length_config)
    draw(tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]), levels, answer, Path(args.output))
    print(f"{question} {found['answer']}\n{args.output} written.")


def pair(number: int) -> tuple[str, str]:
    """A question of the sample corpus, with its passage."""
    articles = json.loads(DATA.read_text(encoding="utf-8"))["data"]
    rows = [
        (question["question"], part["context"])
        for article in articles
        for part in article["paragraphs"]
        for question in part["qas"]
    ]
    return rows[number]


@torch.no_grad()
def surviving(model, encoded, name: str) -> dict[str, list[bool]]:
    """Marks the tokens that are left in the input and after each layer that drops some."""
    length_config = model.config.resolve_budget(name).length_config
    everyone = [True] * encoded["input_ids"].shape[1]
    levels = {f"layer 1 reads {len(everyone)} tokens": everyone}
    for layer, entry in enumerate(length_config):
        if layer and entry == length_config[layer - 1]:
            continue
        # No drops after this layer: they do not change which tokens this layer drops
        until_here = [*length_config[:layer], *[entry] * (len(length_config) - layer)]
        kept = model(**encoded, length_config=until_here).kept_tokens[0].tolist()
        levels[f"layer {layer + 1} drops, {sum(kept)} go on"] = kept
    return levels


def draw(tokens: list[str], levels: dict[str, list[bool]], answer: list[bool], path: Path) -> None:
    """Draws the text once for each level."""
    places = wrapped(tokens)
    lines = 1 + places[-1][0]
    figure = Figure(figsize=(INCHES, LINE * (lines + 1.6) * len(levels)), layout="constrained")
    size = 72 * INCHES / COLUMNS / ADVANCE * 0.96  # points; a little less for the margins
    for axes, (title, kept) in zip(figure.subplots(len(levels)), levels.items(), strict=True):
        axes.set(xlim=(0, COLUMNS), ylim=(lines - 0.4, -0.6))
        axes.axis("off")
        axes.set_title(title, loc="left", fontsize=size + 1, fontweight="bold")
        for token, (line, column), here, gold in zip(tokens, places, kept, answer, strict=True):
            color = ANSWER if here and gold else KEPT if here else DROPPED
            style = {"family": "monospace", "fontsize": size, "va": "center", "color": color}
            axes.text(column, line, token.removeprefix("##"), fontweight="bold" if here and gold else "normal", **style)
    figure.savefig(path, dpi=110)


def wrapped(tokens: list[str]) -> list[tuple[int, int]]:
    """Line and column of each token; pieces of a word stand together."""
    places, line, column = [], 0, 0
    for index, token in enumerate(tokens):
        text = token.removeprefix("##")
        column += bool(column) and token == text
        word = len(text) + sum(len(t) - 2 for t in following_pieces(tokens, index))
        if column + word > COLUMNS and token == text:
            line, column = line + 1, 0
        places.append((line, column))
        column += len(text)
    return places


def following_pieces(tokens: list[str], index: int) -> list[str]:
    """The pieces that belong to the same word."""
    end = index + 1
    while end < len(tokens) and tokens[end].startswith("##"):
        end += 1
    return tokens[index + 1 : end]


if __name__ == "__main__":
    main()
