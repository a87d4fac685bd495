# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Which length configurations are worth keeping: knows no model."""
