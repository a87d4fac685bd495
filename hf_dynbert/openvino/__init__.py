# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Export to OpenVINO and its runtime classes. Every module except `config` needs the `intel` extra."""
