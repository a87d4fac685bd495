# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Default values that arguments and functions share. Imports nothing, so that `--help` does not wait."""

MAX_LENGTH = 384  # tokens of a window, as BERT on SQuAD (arXiv 1810.04805)
STRIDE = 128  # tokens that neighbouring windows share, in the same paper
