# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Model cards, and pushing a folder to the Hugging Face Hub."""
