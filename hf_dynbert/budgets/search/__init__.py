# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Search for length configurations, measured on the model and the machine."""
