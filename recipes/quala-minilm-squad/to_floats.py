# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""An int8 OpenVINO folder as a PyTorch checkpoint in float32: to fine-tune, where only the int8 file is at hand.

python to_floats.py recipes/quala-minilm-squad/checkpoint outputs/quala-minilm-squad-floats
"""

import argparse

from transformers import AutoTokenizer

from hf_dynbert.openvino.float_weights import float_model


def main() -> None:
    """Reads and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="what hf-dynbert quantize wrote")
    parser.add_argument("output", help="where to save the checkpoint")
    args = parser.parse_args()
    float_model(args.folder).save_pretrained(args.output)
    AutoTokenizer.from_pretrained(args.folder).save_pretrained(args.output)
    print(f"Saved in {args.output}")


if __name__ == "__main__":
    main()
