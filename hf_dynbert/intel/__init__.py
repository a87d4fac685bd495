# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive models on Intel CPUs: OpenVINO and int8 through Optimum-Intel. Needs the `intel` extra."""
