# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Hides two messages of `torchao`, which transformers imports where it is installed. Importing this module does it.

They are about parts of `torchao` that this package does not use. Other messages of both loggers are not affected.
"""

import logging


MESSAGES = {
    "torchao": "Failed to load ",  # kernels for GPUs
    "torch.utils._pytree": "<enum '",  # an interface that torchao 0.18 uses and torch 2.13 deprecates
}

for _name in MESSAGES:
    logging.getLogger(_name).addFilter(lambda record: not record.getMessage().startswith(MESSAGES[record.name]))
