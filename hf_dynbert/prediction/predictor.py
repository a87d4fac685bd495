# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A callable class that predicts a batch of rows, for engines that run it in their workers."""

import sys
from collections.abc import Mapping, Sequence

from transformers import AutoConfig, pipeline

from ..loading import is_openvino, load, load_tokenizer
from ..tasks.base import task_of
from ..utils.errors import reading
from .rows import REQUESTS, check_fields, select_fields


class BatchPredictor:
    """Predicts batches of rows with a model of any task: for `map_batches` of Ray Data and `predict_batch_udf` of Spark.

    A batch has the fields of the task as columns: `question` and `context`; `text`, and `text_pair` for pairs; or `query`
    and `passages`. The columns `budget` and `max_latency_ms`, if there are any, select the budget of a row; rows without a
    value have the budget of the options. Rows are sorted by length, so that batches of the model have little padding.

    Args:
        model (`str`): folder or Hub id, in PyTorch or OpenVINO.
        task (`str`, *optional*): name of the task; by default that of the checkpoint's head.
        batch_size (`int`, *optional*, defaults to 16): inputs of a call of the model.
        max_length (`int`, *optional*): most tokens of an input; by default that of the task.
        threads (`int`, *optional*): CPU threads of a call; by default the `num_cpus` of the Ray worker or the
            `spark.task.cpus` of the Spark task, elsewhere all cores.
        options: options of the task's pipeline, such as `budget`, `max_latency_ms` and `top_k`.

    Raises:
        ValueError: a model without a head for the task, or options that are not valid.
        TypeError: an unknown option.

    Example:

    ```python
    >>> import ray
    >>> from hf_dynbert.integrations.ray import BatchPredictor

    >>> rows = ray.data.read_parquet("texts/")
    >>> found = rows.map_batches(
    ...     BatchPredictor,
    ...     fn_constructor_kwargs={"model": "outputs/classifier-int8", "budget": "half"},
    ...     compute=ray.data.ActorPoolStrategy(size=8),
    ...     num_cpus=2,
    ...     batch_size=1024,
    ... )
    >>> found.write_parquet("predictions/")
    ```
    """

    def __init__(
        self,
        model: str,
        task: str | None = None,
        *,
        batch_size: int = 16,
        max_length: int | None = None,
        threads: int | None = None,
        **options,
    ):
        name, threads = str(model), threads or assigned_threads()
        with reading(name):
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            self.task = task_of(config, task, name)
            # Pinned threads of several workers would share the first cores of the machine
            unpinned = {"ov_config": {"ENABLE_CPU_PINNING": False}} if is_openvino(name, config.to_dict()) else {}
            self.model = load(name, self.task.name, threads, **(unpinned if threads else {}))
            self.tokenizer = load_tokenizer(name)
        self.has_top_k = options.get("top_k") is not None
        options = {name: value for name, value in options.items() if value is not None}
        options |= {"batch_size": batch_size, **self.task.pipeline_options(max_length)}
        self.pipeline = pipeline(self.task.pipeline, model=self.model, tokenizer=self.tokenizer, **options)

    def __call__(self, batch: Mapping[str, Sequence]) -> dict[str, Sequence]:
        """Adds the column `prediction` to a batch; all other columns stay as they are.

        Args:
            batch (`dict[str, np.ndarray]`): columns by name.

        Returns:
            `dict`: the same columns, and `prediction`: a list with what the pipeline returns for each row: a `dict` for an
            answer or a label, a list of them with `top_k` and for rankings.

        Raises:
            ValueError: a row that is not valid, or an unknown budget.
        """
        names = [name for name in (*self.task.fields, *REQUESTS) if name in batch]
        number_of_rows = len(next(iter(batch.values()), ()))  # of any column: those of the task may be missing
        rows = [{name: batch[name][index] for name in names} for index in range(number_of_rows)]
        rows = [select_fields(row, self.task.fields) for row in rows]
        for number, row in enumerate(rows):
            check_fields(row, self.task.fields, f"Row {number} of the batch (columns {', '.join(batch)})")
        return {**batch, "prediction": self.predict(rows)}

    def predict(self, rows: Sequence[dict]) -> list:
        """The prediction of each row, in the order of the rows.

        Args:
            rows (`list[dict]`): fields of the task, and perhaps `budget` or `max_latency_ms`.
        """
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(repr(_request(row)), []).append(index)
        predictions = [None] * len(rows)
        for indices in groups.values():
            indices.sort(key=lambda index: -_characters(rows[index]))
            inputs = [{name: rows[index][name] for name in self.task.fields if name in rows[index]} for index in indices]
            found = self.pipeline(inputs, **_request(rows[indices[0]]))
            for index, prediction in zip(indices, found, strict=True):
                predictions[index] = self._unpacked(prediction)
        return predictions

    def _unpacked(self, prediction):
        """The prediction; transformers' classifiers return the most probable label in a list."""
        is_label = isinstance(prediction, list) and len(prediction) == 1 and list(prediction[0]) == ["label", "score"]
        return prediction[0] if is_label and not self.has_top_k else prediction


def assigned_threads() -> int | None:
    """CPUs that Ray assigned to this worker or Spark to this task, at least one; `None` elsewhere."""
    if "ray" in sys.modules:
        ray = sys.modules["ray"]
        if ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            return max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    if "pyspark" in sys.modules:
        from pyspark import TaskContext

        return TaskContext.get().cpus() if TaskContext.get() else None
    return None


def _request(row: dict) -> dict:
    """The arguments of the pipeline's call that select the budget of a row."""
    return {name: row[name] for name in REQUESTS if name in row}


def _characters(row: dict) -> int:
    """Characters of a row's texts."""
    return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in row.values() if _is_text(text))


def _is_text(value) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str))
