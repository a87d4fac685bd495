# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Helpers that do not depend on models: files, errors, tables."""
