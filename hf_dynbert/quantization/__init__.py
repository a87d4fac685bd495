# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 models: OpenVINO, PyTorch and Neural Compressor."""
