# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a teacher said, kept: several epochs and several students cost one pass, and a pass that was stopped goes on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import torch
from datasets import Dataset, Features, concatenate_datasets
from tqdm.auto import tqdm


SHARD = 256  # rows that are kept at once: what a killed pass loses, a minute or two of a large teacher on two cores


def keep_answers(
    answer: Callable[[dict], dict], data: Dataset, columns: list[str], features: Features, key: str, cache_dir=None
) -> Dataset:
    """Maps data shard by shard, and takes from the cache what was mapped before, here or in another process.

    Of several processes that train together each starts in another place, so that they share the work where they share the
    folder.

    Args:
        answer (`Callable`): from a batch of rows to a batch of answers, not always as many.
        data (`datasets.Dataset`): rows.
        columns (`list[str]`): what `answer` reads of them.
        features (`datasets.Features`): of the answers.
        key (`str`): names all that answers depend on but the rows, see `fingerprint`.
        cache_dir (`str` or `Path`, *optional*): folder; beside the other caches of `datasets` when not given.

    Returns:
        `datasets.Dataset`: the answers.
    """
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_dynbert-teachers") / key
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, len(data), SHARD)
    begin = _rank() * len(firsts) // _processes()
    shards = {}
    for first in tqdm([*firsts[begin:], *firsts[:begin]], desc="Teacher", unit="shard"):
        shard = data.select(range(first, min(first + SHARD, len(data)))).select_columns(columns)
        name = hashlib.sha256(json.dumps([shard[column][:] for column in columns]).encode()).hexdigest()[:16]
        shards[first] = shard.map(
            answer,
            batched=True,
            batch_size=SHARD,
            remove_columns=columns,
            cache_file_name=str(folder / f"{name}.arrow"),  # written beside and renamed by datasets
            new_fingerprint=f"{key}-{name}",
            features=features,
        )
    return concatenate_datasets([shards[first] for first in firsts])


def _rank() -> int:
    return torch.distributed.get_rank() if _distributed() else 0


def _processes() -> int:
    return torch.distributed.get_world_size() if _distributed() else 1


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def fingerprint(teacher, tokenizers: list, settings: list) -> str:
    """Of all that an answer depends on, but the row."""
    digest = hashlib.sha256(
        json.dumps([type(teacher).__name__, teacher.config.to_diff_dict(), settings], default=str).encode()
    )
    for tokenizer in tokenizers:
        digest.update(json.dumps(tokenizer_parts(tokenizer)).encode())
    for name, tensor in sorted(teacher.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def tokenizer_parts(tokenizer) -> dict:
    """What a fast tokenizer does to a text, without what each call sets."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in parts.items() if name not in ("truncation", "padding")}
