# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a large model said of data, kept: several epochs and students cost one pass, and a pass that was stopped goes on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import torch
from datasets import Dataset, Features, concatenate_datasets
from tqdm.auto import tqdm


SHARD = 256  # rows that are kept at once: what a killed pass loses, a minute or two of a large teacher on two cores
VERSION = 2  # raise it when the same models, data and settings give other answers
NOT_ANSWERS = (
    "transformers_version",
    "architectures",
    "id2label",
    "label2id",
    "auto_map",
)  # of a configuration: names, no numbers


def map_in_shards(
    function: Callable[[dict], dict],
    data: Dataset,
    columns: list[str],
    features: Features,
    key: str,
    description: str,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Maps data shard by shard, and takes from the cache what was mapped before, here or in another process.

    Of several processes that train together each starts in another place, so that they share the work where they share the
    folder.

    Args:
        function (`Callable`): from a batch of rows to a batch of others, not always as many.
        data (`datasets.Dataset`): rows.
        columns (`list[str]`): what `function` reads of them.
        features (`datasets.Features`): of what it returns.
        key (`str`): names all that this depends on but the rows, see `fingerprint`.
        description (`str`): stands before the progress bar.
        cache_dir (`str` or `Path`, *optional*): folder; beside the other caches of `datasets` when not given.

    Returns:
        `datasets.Dataset`: what `function` returned.
    """
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_dynbert") / key
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, len(data), SHARD)
    begin = _rank() * len(firsts) // _processes()
    shards = {}
    for first in tqdm([*firsts[begin:], *firsts[:begin]], desc=description, unit="shard"):
        shard = data.select(range(first, min(first + SHARD, len(data)))).select_columns(columns)
        name = hashlib.sha256(json.dumps([shard[column][:] for column in columns]).encode()).hexdigest()[:16]
        shards[first] = shard.map(
            function,
            batched=True,
            batch_size=SHARD,
            remove_columns=columns,
            cache_file_name=str(folder / f"{name}.arrow"),  # written beside and renamed by datasets
            load_from_cache_file=True,  # even where caching is switched off: this is no cache of datasets
            new_fingerprint=f"{key}-{name}",
            features=features,
        )
    return concatenate_datasets([shards[first] for first in firsts])


def fingerprint(model, tokenizers: list, settings: list) -> str:
    """Of all that a model's answer depends on, but the row.

    Args:
        model (`PreTrainedModel`): configuration and weights.
        tokenizers (`list[PreTrainedTokenizerBase]`): all that read the row.
        settings (`list`): what JSON can write.
    """
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in NOT_ANSWERS}
    digest = hashlib.sha256(json.dumps([VERSION, type(model).__name__, config, settings], default=str).encode())
    for tokenizer in tokenizers:
        digest.update(json.dumps(tokenizer_parts(tokenizer), default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def tokenizer_parts(tokenizer) -> dict:
    """What a tokenizer does to a text, without what each call sets."""
    parts = {name: getattr(tokenizer, name) for name in ("truncation_side", "model_input_names")}
    if not getattr(tokenizer, "is_fast", False):
        return parts | {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab(), **tokenizer.init_kwargs}
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return parts | {name: part for name, part in backend.items() if name not in ("truncation", "padding")}


def _rank() -> int:
    return torch.distributed.get_rank() if _distributed() else 0


def _processes() -> int:
    return torch.distributed.get_world_size() if _distributed() else 1


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
