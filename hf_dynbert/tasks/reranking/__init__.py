# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Reranking: passages of a query in order of their relevance."""
