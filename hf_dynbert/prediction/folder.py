# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A folder of predictions: a file for each block, which appears whole or not at all, and the record of the run."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..utils.atomic_files import replace_files
from ..utils.errors import InputError, reading
from .predictor import BatchPredictor
from .rows import PARQUET, Block, read_block


RECORD = "_predict.json"  # readers of folders, such as Spark and datasets, skip names with an underscore in front
# Files of a model folder that change no prediction
REPORTS = ("training.json", "quantization.json", "evaluation.json")
REPORT_KINDS = (".md", ".png")
# Types of the fields of a prediction: a block whose values are all missing would get another type than the other blocks
ARROW_TYPES = {"answer": "string", "start": "int64", "end": "int64", "score": "float64", "label": "string"}
ARROW_TYPES |= {"index": "int64", "text": "string", "budget": "string"}


def part_of(folder: Path, block: Block) -> Path:
    """The file with the predictions of a block, of the kind of its inputs."""
    return folder / f"part-{block.number:05d}{PARQUET if block.path.endswith(PARQUET) else '.jsonl'}"


def write_block(folder: Path, block: Block, predictor: BatchPredictor) -> None:
    """Predicts a block and writes its file; a file that is there stays."""
    path = part_of(folder, block)
    if path.exists():  # a worker was killed between this file and its report
        return
    lines = predict_block(block, predictor)
    with replace_files(folder) as staging:
        if path.suffix == PARQUET:
            _write_parquet(staging / path.name, lines)
        else:
            (staging / path.name).write_text("".join(to_json(lines)), encoding="utf-8")


def predict_block(block: Block, predictor: BatchPredictor) -> list[dict]:
    """Id and prediction of each row of a block, in the order of the rows."""
    rows = list(read_block(block, predictor.task.fields))
    predictions = predictor.predict([row.inputs for row in rows])
    return [{"id": row.id, "prediction": prediction} for row, prediction in zip(rows, predictions, strict=True)]


def to_json(lines: Iterable[dict]) -> Iterable[str]:
    """Lines of a file."""
    return (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _write_parquet(path: Path, lines: Sequence[dict]) -> None:
    import pyarrow
    from pyarrow import parquet

    predictions = [line["prediction"] for line in lines]
    several = isinstance(predictions[0], list)
    fields = predictions[0][0] if several else predictions[0]
    kind = None  # of another task: pyarrow infers it
    if fields.keys() <= ARROW_TYPES.keys():
        kind = pyarrow.struct([(name, ARROW_TYPES[name]) for name in fields])
        kind = pyarrow.list_(kind) if several else kind
    columns = {"id": [line["id"] for line in lines], "prediction": pyarrow.array(predictions, type=kind)}
    parquet.write_table(pyarrow.table(columns), path)


def begin_folder(folder: Path, settings: dict, model: str, files: Sequence[Path], commit: str | None) -> dict:
    """Records the run in its folder, or compares it with the record that is there.

    Args:
        folder (`Path`): the folder of predictions.
        settings (`dict`): what decides the predictions, as JSON can store it. `chosen_budget` may differ from the recorded
            one, since it depends on the latencies of a machine.
        model (`str`): folder or Hub id of the model.
        files (`list[Path]`): files of the rows.
        commit (`str`, *optional*): commit of a model on the Hub.

    Returns:
        `dict`: the recorded settings.

    Raises:
        InputError: the folder belongs to a run with other settings, another model or other rows, or to no run.
    """
    record = {
        "settings": settings,
        "model": _model_contents(model, commit),
        "rows": {file.name: _file_hash(file) for file in files},
    }
    path = folder / RECORD
    if not path.exists():
        if parts := sorted(file.name for file in folder.glob("part-*")):
            raise InputError(f"{folder} holds {parts[0]}, but no {RECORD}, the record of its run. Give another --output.")
        with replace_files(folder) as staging:
            (staging / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return settings
    with reading(str(path)):
        known = json.loads(path.read_text(encoding="utf-8"))
    if differences := _differences(known, record):
        raise InputError(
            f"{folder} holds predictions of another run; it differs in {'; '.join(differences)}. Give another --output, or "
            "the same settings to continue that run."
        )
    return known["settings"]


def _differences(known: dict, record: dict) -> list[str]:
    """What differs between two records, in words."""
    found = []
    for name, value in record["settings"].items():
        if name != "chosen_budget" and known["settings"].get(name) != value:
            found.append(f"{name}: {known['settings'].get(name)!r} there, {value!r} now")
    for part in ("model", "rows"):
        names = sorted({*known[part], *record[part]})
        found += [f"{part}: other contents of {name}" for name in names if known[part].get(name) != record[part].get(name)]
    return found


def _model_contents(model: str, commit: str | None) -> dict[str, str]:
    """Hashes of the files of a model folder, or the commit of a repository."""
    if not Path(model).is_dir():
        return {model: str(commit)}
    files = [file for file in sorted(Path(model).iterdir()) if file.is_file() and file.suffix not in REPORT_KINDS]
    return {file.name: _file_hash(file) for file in files if file.name not in REPORTS}


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
