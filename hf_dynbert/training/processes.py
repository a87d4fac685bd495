# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Several processes that trained together, and how they part."""

import gc

from accelerate import PartialState
from transformers import Trainer


def end_together(trainer: Trainer | None = None) -> None:
    """The last call of a script that several processes run; where there is one, it does nothing.

    Two things make a process abort at its very end, and the whole launch fail: that it leaves while others still talk, and
    that Python ends while a thread of Gloo still lets go of the last message, for which it needs Python. Those threads end
    with the process group, which lives for as long as the wrapped model does, whatever `end_training` of accelerate says. So
    all wait for each other, the wrapped model goes, and then the group.

    Args:
        trainer (`Trainer`, *optional*): one that the script still holds. It can save afterwards, but train no more.

    Example:

    ```python
    >>> trainer.train()
    >>> trainer.save_model()
    >>> end_together(trainer)
    ```
    """
    state = PartialState()
    if state.num_processes == 1:
        return
    state.wait_for_everyone()
    if trainer is not None:
        trainer.model_wrapped = trainer.model
        trainer.accelerator.free_memory()
    gc.collect()  # a trainer that was let go of, and its wrapped model, are parts of a circle
    state.destroy_process_group()
