# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive models in other libraries. Each module needs the library that it is named after."""
