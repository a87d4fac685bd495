# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Predictions by the workers of Ray. [`BatchPredictor`] is for `map_batches` of Ray Data."""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..prediction.folder import write_block
from ..prediction.predictor import BatchPredictor
from ..prediction.rows import Block


__all__ = ["BatchPredictor", "predict_blocks"]

# Ray's own defaults would send statistics of its use, and log each step of a data set. At its level of errors, Ray's core
# warns about the arguments of every class that has some
RAY_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class BlockWriter:
    """Writes the files of blocks in a Ray worker, and returns what it did.

    Args:
        folder (`str`): the folder of predictions.
        arguments (`dict`): arguments of [`BatchPredictor`].
    """

    def __init__(self, folder: str, arguments: dict):
        self.folder, self.predictor = Path(folder), BatchPredictor(**arguments)

    def __call__(self, batch: dict) -> dict:
        """Writes the one block of a batch."""
        block, begin = Block(*json.loads(batch["block"][0])), time.time()
        write_block(self.folder, block, self.predictor)
        report = {"number": block.number, "rows": block.rows, "worker": os.getpid(), "begin": begin, "end": time.time()}
        return {name: [value] for name, value in report.items()}


def predict_blocks(
    blocks: Sequence[Block], folder: str | Path, arguments: dict, num_workers: int = 1, threads: int = 1
) -> Iterator[dict]:
    """Writes the predictions of blocks with workers of Ray, each of which loads the model.

    Starts Ray on this machine, or uses the cluster of the environment variable `RAY_ADDRESS`; all its machines must reach
    the model, the rows and the folder by the same paths. A worker that dies is started again, and its block with it.

    Args:
        blocks (`list[Block]`): blocks of `find_blocks`.
        folder (`str` or `Path`): the folder of predictions.
        arguments (`dict`): arguments of [`BatchPredictor`].
        num_workers (`int`, *optional*, defaults to 1): number of workers.
        threads (`int`, *optional*, defaults to 1): CPU threads of each worker.

    Yields:
        `dict`: `number` and `rows` of a block that was written, `worker` (a process), and `begin` and `end` in seconds.

    Raises:
        ImportError: Ray is not installed.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in RAY_SETTINGS.items()})
    import ray  # reads the environment when it is imported
    import ray.data

    started = not ray.is_initialized()
    if started:
        local = {"address": "local", "num_cpus": num_workers * threads, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level=logging.WARNING, **({} if os.environ.get("RAY_ADDRESS") else local))
    logging.getLogger("ray.data").setLevel(
        logging.ERROR
    )  # its warnings are about the progress bar that is switched off here
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Workers may have another working directory
    texts = [json.dumps(block._replace(path=str(Path(block.path).absolute()))) for block in blocks]
    if Path(arguments["model"]).is_dir():
        arguments = arguments | {"model": str(Path(arguments["model"]).absolute())}
    try:
        items = ray.data.from_items([{"block": text} for text in texts], override_num_blocks=len(texts))
        yield from items.map_batches(
            BlockWriter,
            fn_constructor_args=(str(Path(folder).absolute()), arguments),
            batch_size=1,
            num_cpus=threads,
            compute=ray.data.ActorPoolStrategy(size=num_workers),
        ).iter_rows()
    finally:
        if started:
            ray.shutdown()
