# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Makes a fine-tuned model length-adaptive with texts that have no labels."""
