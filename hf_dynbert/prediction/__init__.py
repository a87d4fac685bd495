# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Predictions for many rows: batches of any engine, and folders of files in blocks."""
