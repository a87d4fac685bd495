# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A disk cache of a large model's outputs: one pass serves all epochs and students, and an interrupted pass resumes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import datasets
from datasets import Dataset, Features, concatenate_datasets
from torch import distributed
from tqdm.auto import tqdm


SHARD = 256  # rows of a file: an interrupted pass loses at most these, 1 to 2 minutes of a large teacher on two cores
VERSION = 2  # raise it when the same models, data and settings give other answers
# Fields of a configuration that do not change the outputs
NOT_ANSWERS = ("transformers_version", "architectures", "id2label", "label2id", "auto_map")


def map_in_shards(
    function: Callable[[dict], dict],
    data: Dataset,
    columns: list[str],
    features: Features,
    key: str,
    description: str,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Maps these columns of the data to rows with these features, and stores each shard under the key (see `fingerprint`).

    Distributed processes start at different shards, so processes that share the folder divide the work.
    """
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_dynbert") / key
    folder.mkdir(parents=True, exist_ok=True)
    rank, processes = 0, 1
    if distributed.is_available() and distributed.is_initialized():
        rank, processes = distributed.get_rank(), distributed.get_world_size()
    firsts, shards = range(0, len(data), SHARD), {}
    begin = rank * len(firsts) // processes
    for first in tqdm([*firsts[begin:], *firsts[:begin]], desc=description, unit="shard"):
        shard = data.select(range(first, min(first + SHARD, len(data)))).select_columns(columns)
        name = hashlib.sha256(json.dumps([shard[column][:] for column in columns]).encode()).hexdigest()[:16]
        shards[first] = shard.map(
            function,
            batched=True,
            batch_size=SHARD,
            remove_columns=columns,
            cache_file_name=str(folder / f"{name}.arrow"),  # `datasets` writes a temporary file and renames it
            load_from_cache_file=True,  # also if caching of `datasets` is switched off: this cache is separate
            new_fingerprint=f"{key}-{name}",
            features=features,
        )
    return concatenate_datasets([shards[first] for first in firsts])


def fingerprint(model, tokenizers: list, settings: list) -> str:
    """Hash of all that decides a model's outputs for given data: configuration, weights, tokenizers and settings."""
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in NOT_ANSWERS}
    digest = hashlib.sha256(json.dumps([VERSION, type(model).__name__, config, settings], default=str).encode())
    for tokenizer in tokenizers:
        digest.update(json.dumps(tokenizer_parts(tokenizer), default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def tokenizer_parts(tokenizer) -> dict:
    """The settings of a tokenizer that change its tokens, without those that each call sets."""
    parts = {name: getattr(tokenizer, name) for name in ("truncation_side", "model_input_names")}
    if not getattr(tokenizer, "is_fast", False):
        return parts | {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab(), **tokenizer.init_kwargs}
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return parts | {name: part for name, part in backend.items() if name not in ("truncation", "padding")}
