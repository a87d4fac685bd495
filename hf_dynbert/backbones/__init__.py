# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of other architectures as DynamicTinyBert models, and folders of them."""
