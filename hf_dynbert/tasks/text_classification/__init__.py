# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Classification and regression of texts and pairs of texts."""
