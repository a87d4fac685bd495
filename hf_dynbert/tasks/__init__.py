# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One package per task: data, features, head, pipeline, metrics."""
