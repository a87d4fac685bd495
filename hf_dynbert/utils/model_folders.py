# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Whether the files of a model folder are whole, from their headers alone: before work, and before a folder is published."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from safetensors import SafetensorError, safe_open

from .errors import InputError, one_line


PICKLES = {"pytorch_model.bin", "model.pt", "model.pkl"}
# The files of one of these sets are enough to make a tokenizer
TOKENIZERS = [{"tokenizer.json"}, {"vocab.txt"}, {"vocab.json", "merges.txt"}, {"tokenizer.model"}, {"spiece.model"}]
TOKENIZERS += [{"sentencepiece.bpe.model"}]
# Files of a model that a loader or a card reads; a folder may have further files
JSON_FILES = """config.json generation_config.json openvino_config.json tokenizer.json tokenizer_config.json
added_tokens.json special_tokens_map.json vocab.json training.json quantization.json evaluation.json""".split()
OPENVINO = {"openvino_model.xml", "openvino_model.bin"}
CONSTANT = re.compile(r'offset="(\d+)"[^>]*? size="(\d+)"')  # place of a constant of OpenVINO's graph in its .bin file
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def check_readable(name: str, option: str, weights: bool = True) -> None:
    """Refuses the folder in an option if it is missing, incomplete or damaged. The Hub client checks ids of the Hub."""
    folder = Path(name)
    if folder.is_dir():
        check_folder(folder, weights, pickles=True)
    elif folder.exists():
        raise InputError(f"{option} {name} is a file; give the folder that holds config.json, weights and tokenizer.")
    elif not HUB_ID.fullmatch(name) or name.startswith("."):
        raise InputError(f"{option}: there is no folder {name}.")


def check_folder(folder: Path, weights: bool = True, pickles: bool = False) -> None:
    """Refuses a folder that could not be loaded as a model with its tokenizer.

    Args:
        folder (`Path`): a folder.
        weights, pickles (`bool`): whether it must hold weights, and whether a pickle of weights is enough.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if "config.json" not in names:
        raise InputError(f"{folder} holds no config.json: it is not a model. A checkpoint-* folder in it may be one.")
    for name in sorted(names):
        if name in JSON_FILES:
            read_json(folder / name)
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError(f"{folder / 'config.json'} has no model_type: it is not a configuration of transformers.")
    tensors = sorted(folder.glob("model*.safetensors"))
    if weights and not tensors and not names >= OPENVINO and not (pickles and names & PICKLES):
        pickled = ", ".join(sorted(names & PICKLES))
        found = f"only {pickled}, a pickle, which is not safe to load" if pickled else "no weights"
        raise InputError(f"{folder} holds {found}: save the model with save_pretrained, which writes model.safetensors.")
    _check_shards(folder, names)
    for path in tensors:
        _check_safetensors(path)
    if names >= OPENVINO:
        _check_openvino(folder)
    if not any(names >= files for files in TOKENIZERS):
        raise InputError(f"{folder} holds no tokenizer; add it with tokenizer.save_pretrained({str(folder)!r}).")


def read_json(path: Path) -> object:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({one_line(error)}); save it again.") from error


def _check_shards(folder: Path, names: set[str]) -> None:
    index = folder / "model.safetensors.index.json"
    content = read_json(index) if index.exists() else {"weight_map": {}}
    if not isinstance(content, dict) or not isinstance(content.get("weight_map"), dict):
        raise InputError(f"{index} has no weight_map; save the model again.")
    missing = {str(shard) for shard in content["weight_map"].values()} - names
    if missing:
        raise InputError(f"{index} names {', '.join(sorted(missing))}, which is not there; save the model again.")


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, "numpy") as file:
            empty = not file.keys()
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or incomplete ({one_line(error)}); save the model again.") from error
    if empty:
        raise InputError(f"{path} holds no tensors; save the model again.")


def _check_openvino(folder: Path) -> None:
    """Compares the places of the graph's constants with the size of the weights."""
    graph, weights = folder / "openvino_model.xml", folder / "openvino_model.bin"
    try:
        ElementTree.parse(graph)
        text = graph.read_text(encoding="utf-8")
    except (ElementTree.ParseError, UnicodeError) as error:
        raise InputError(f"{graph} is damaged or incomplete ({one_line(error)}). Save the model again.") from error
    ends = [int(begin) + int(size) for begin, size in CONSTANT.findall(text)]
    if max(ends, default=0) > weights.stat().st_size:
        raise InputError(f"{weights} is incomplete: {graph.name} names {max(ends)} bytes. Save the model again.")
