# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Running a recipe: arguments, the run itself, its record."""
