# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""How several processes that trained together end."""

import gc

from accelerate import PartialState
from transformers import Trainer


def end_together(trainer: Trainer | None = None) -> None:
    """Ends the process group; the last call of a script that several processes run. In a single process it does nothing.

    Without it a launch may fail at its very end, for two reasons: a process exits while another process still communicates,
    or Python exits while a thread of Gloo still releases its last message, for which the thread needs Python. These threads
    end with the process group, and the group ends only after the wrapped model is freed. So all processes wait for each
    other, free the wrapped model, and destroy the group.

    Args:
        trainer (`Trainer`, *optional*): a trainer that the script still holds. It can save afterwards, but not train.

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
    gc.collect()  # a trainer and its wrapped model refer to each other
    state.destroy_process_group()
