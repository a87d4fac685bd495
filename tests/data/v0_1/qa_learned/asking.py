# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A model that is asked for a latency, a cost or an accuracy, in any runtime."""

import json
import logging

import torch

from .budget import Budget, choose_budget
from .configuration_dynamic_tinybert import FULL
from .latency import machine_name, measure_latencies, remembered


QUESTION = 14  # tokens of a question with CLS and SEP, as in SQuAD

logger = logging.getLogger(__name__)


class BudgetMixin:
    """What a model with measured `config.budgets` can be asked.

    A class that has it has `config`, `runtime_name` (`str`) and `threads` (`int`), and takes `input_ids`, `attention_mask`
    and `length_config` in a call.
    """

    @property
    def runtime_name(self) -> str:
        """What computes, with its version: latencies of another say nothing."""
        kind = "int8" if getattr(self.config, "quantization_config", None) else str(self.dtype).removeprefix("torch.")
        place = (
            "" if self.device.type == "cpu" else f" on {torch.get_device_module(self.device).get_device_name(self.device)}"
        )
        return f"PyTorch {torch.__version__} {kind}{place}"

    @property
    def threads(self) -> int:
        """How many a call takes."""
        return torch.get_num_threads()

    def budget(
        self,
        max_latency_ms: float | None = None,
        max_macs: float | None = None,
        min_f1: float | None = None,
        speedup: float | None = None,
    ) -> list[int | float] | str:
        """The length configuration to call with, in a person's own terms: `length_config=model.budget(speedup=2)`.

        Latencies are this machine's: where the budgets were measured on another one, they are timed here once, in a few
        seconds, and kept.

        Args:
            max_latency_ms (`float`, *optional*): most milliseconds of a call at batch 1 with an input of usual length.
            max_macs (`float`, *optional*): most multiply-accumulates of an example, mean over the sample of the search.
            min_f1 (`float`, *optional*): least F1 on that sample, percent.
            speedup (`float`, *optional*): so many times as fast as full length, at least.

        Returns:
            `list` or `str`: the length configuration with the highest F1 that fits, or with `min_f1` alone the fastest;
            `"full"` where that is all tokens.

        Raises:
            ValueError: nothing that fits, or no measured budgets; see `hf-dynbert search`.
        """
        budgets = [Budget.read(name, entry) for name, entry in (self.config.budgets or {}).items()]
        budgets = [budget for budget in budgets if budget is not None]
        if max_macs is None or max_latency_ms is not None or speedup is not None:
            budgets = self._timed_here(budgets)
        chosen = choose_budget(budgets, max_latency_ms, max_macs, min_f1, speedup)
        return FULL if chosen.length_config is None else list(chosen.length_config)

    def _timed_here(self, budgets: list[Budget]) -> list[Budget]:
        """The budgets with latencies of this machine and runtime."""
        machine = machine_name(self.threads)
        elsewhere = [budget for budget in budgets if (budget.machine, budget.runtime) != (machine, self.runtime_name)]
        if not elsewhere:
            return budgets
        tokens = max(budget.tokens or 1 for budget in budgets)
        unlike = {
            name: value
            for name, value in self.config.to_dict().items()
            if name not in ("budgets", "_name_or_path", "auto_map")
        }
        settings = json.dumps(unlike, sort_keys=True, default=str)
        key = [machine, self.runtime_name, type(self).__name__, settings, tokens, [b.length_config for b in budgets]]
        latencies, path, new = remembered(key, lambda: self._time(budgets, tokens))
        if new:
            logger.warning(f"Timed {len(budgets)} budgets at {tokens} tokens on this machine ({machine}); kept in {path}.")
        return [
            Budget(**vars(budget) | {"latency_ms": latency, "machine": machine, "runtime": self.runtime_name})
            for budget, latency in zip(budgets, latencies, strict=True)
        ]

    def _time(self, budgets: list[Budget], tokens: int) -> list[float]:
        generator = torch.Generator().manual_seed(0)  # its own: nobody else's chance is touched
        ids = torch.randint(self.config.vocab_size, (1, tokens), generator=generator)
        types = (torch.arange(tokens) >= min(QUESTION, tokens // 2)).long()[None]
        types = types.clamp(max=self.config.type_vocab_size - 1)  # RoBERTa has one
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
        device = getattr(self, "device", None)
        on_accelerator = isinstance(device, torch.device) and device.type != "cpu"
        if on_accelerator:
            inputs = {name: tensor.to(device) for name, tensor in inputs.items()}

        def call(index: int) -> None:
            with torch.inference_mode():
                self(**inputs, length_config=budgets[index].length_config or FULL)
            if on_accelerator:  # a call returns before it is done
                torch.get_device_module(device).synchronize(device)

        return measure_latencies(call, range(len(budgets)))
