# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The version, readable without importing anything."""

__version__ = "0.1.0"
