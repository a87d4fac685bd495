# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Budgets: records, choice, cost, latency, sampling and search."""
