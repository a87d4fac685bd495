# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Quantizes a plain question answering model to the same int8, to compare latencies with.

python quantize_plain.py --model outputs/minilm-squad --train_file FILE.json ... --output outputs/minilm-squad-int8
"""

import argparse
from tempfile import TemporaryDirectory

import numpy as np
from optimum.intel import OVModelForQuestionAnswering
from transformers import AutoTokenizer, BertForQuestionAnswering

from hf_dynbert import load_squad, split_by_article
from hf_dynbert.quantization.nncf_static import quantize_graph
from hf_dynbert.tasks.question_answering import encode_windows


def main() -> None:
    """Exports, calibrates, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a fine-tuned BERT, in PyTorch")
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, default=0.1)
    parser.add_argument("--samples", type=int, default=300, help="questions to calibrate with, as many as ours")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    data, _ = split_by_article(load_squad(args.train_file), args.held_out)
    data = data.shuffle(seed=0).select(range(min(args.samples, len(data))))
    windows = encode_windows(tokenizer, data["question"], data["context"])[: args.samples]
    inputs = [{name: np.array([values], dtype=np.int64) for name, values in window.inputs.items()} for window in windows]
    with TemporaryDirectory() as folder:  # a length-adaptive checkpoint as the plain BERT that it also is
        BertForQuestionAnswering.from_pretrained(args.model).save_pretrained(folder)
        model = OVModelForQuestionAnswering.from_pretrained(folder, export=True, compile=False)
    quantize_graph(model, inputs, smooth_quant_alpha=0.85)  # as quantize.yaml has it
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    print(f"Saved in {args.output}")


if __name__ == "__main__":
    main()
