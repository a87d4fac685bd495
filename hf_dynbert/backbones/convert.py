# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of BERT, RoBERTa and its relatives, and DistilBERT as weights and configuration of one architecture."""

import contextlib
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # its HTTP library depends on its release
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging


logger = logging.get_logger(__name__)

# Arguments of `from_pretrained`: where the weights are on the Hub, and how the model is kept in memory
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
PLACING_ARGUMENTS = ("dtype", "attn_implementation", "device_map")

ROBERTA_RENAMES = [
    (r"^roberta\.", "bert."),
    (r"^classifier\.dense\.", "bert.pooler.dense."),
    (r"^classifier\.out_proj\.", "classifier."),
]
DISTILBERT_LAYER = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
# For each architecture, the names that differ from BERT's; the first pattern that fits the start of a name rewrites it.
# XLM-RoBERTa and CamemBERT have RoBERTa's modules under their own model types.
RENAMES: dict[str, list[tuple[str, str]]] = {
    "bert": [],
    "roberta": ROBERTA_RENAMES,
    "xlm-roberta": ROBERTA_RENAMES,
    "camembert": ROBERTA_RENAMES,
    "distilbert": [
        (r"^distilbert\.embeddings\.", "bert.embeddings."),
        (r"^pre_classifier\.", "bert.pooler.dense."),
        *(
            (rf"^distilbert\.transformer\.layer\.(\d+)\.{re.escape(theirs)}\.", rf"bert.encoder.layer.\1.{ours}.")
            for theirs, ours in DISTILBERT_LAYER.items()
        ),
    ],
}
BY_LAYER = ("length_config", "budgets", "drop_layers")  # fields with values for each layer, meaningless for fewer layers
SAME_CONFIG_FIELDS = """vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act
hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps
pad_token_id bos_token_id eos_token_id classifier_dropout id2label label2id problem_type""".split()


def load_backbone(model_class, source: str | PreTrainedModel, layers: Sequence[int] | None = None, **config_overrides):
    """Makes a model of `model_class` from a supported checkpoint or model; see its `from_backbone`."""
    hub = {name: config_overrides.pop(name) for name in HUB_ARGUMENTS if name in config_overrides}
    placing = {name: config_overrides.pop(name) for name in PLACING_ARGUMENTS if name in config_overrides}
    dtype, device = _dtype(placing.get("dtype")), _device(placing.get("device_map"))  # or an error, before loading
    model = source if isinstance(source, PreTrainedModel) else _load(source, model_class, **hub)
    if getattr(model.config, "quantization_config", None) is not None:
        raise ValueError("The source is in int8; a model starts from floats. Give the checkpoint that the int8 was made of.")
    if layers is not None:
        _check_layers(layers, model.config.num_hidden_layers)
        config_overrides = {"num_hidden_layers": len(layers), **dict.fromkeys(BY_LAYER)} | config_overrides
    config = convert_config(model_class.config_class, model.config, **config_overrides)
    if model_class.__name__.endswith("ForQuestionAnswering") and not hasattr(model, "qa_outputs"):
        config.num_labels = 2  # the source has another head
    config.name_or_path = model.config.name_or_path  # model cards name the checkpoint that a model was made of
    if "attn_implementation" in placing:
        config._attn_implementation = placing["attn_implementation"]
    target = model_class(config).to(dtype=dtype or model.dtype)
    weights = convert_state_dict(model, layers)
    if not hasattr(target, "bert"):  # the bare encoder
        weights = {name.removeprefix("bert."): weight for name, weight in weights.items() if name.startswith("bert.")}
    wanted = target.state_dict()
    fitting = {name: weight for name, weight in weights.items() if name in wanted}
    wrong = [name for name, weight in fitting.items() if weight.shape != wanted[name].shape]
    if wrong:
        shapes = ", ".join(f"{name} {tuple(fitting[name].shape)} for {tuple(wanted[name].shape)}" for name in wrong)
        raise ValueError(f"The weights do not fit this configuration: {shapes}.")
    missing = target.load_state_dict(fitting, strict=False).missing_keys
    if missing:
        logger.warning(f"Newly initialized, train them before use: {', '.join(missing)}.")
    target.config.dtype = target.dtype
    return target.to(device).eval()


def describe_tokenizer(config, tokenizer) -> None:
    """Sets the fields of a configuration that a tokenizer decides."""
    if tokenizer.sep_token_id is not None:
        config.sep_token_id = tokenizer.sep_token_id
    config.fill_token_type_ids = config.type_vocab_size > 1 and "token_type_ids" in tokenizer.model_input_names


def convert_config(config_class, config: PreTrainedConfig, **overrides):
    """The configuration of a supported architecture as one of `config_class`.

    Args:
        config_class: the configuration class to make.
        config (`PreTrainedConfig`): of a BERT, RoBERTa, DistilBERT or DynamicTinyBert model.
        overrides: fields to set.

    Raises:
        ValueError: unsupported architecture, an option of it that this architecture does not have, or an unknown field.
    """
    known = config_class()
    if strange := [name for name in overrides if not hasattr(known, name)]:
        close = difflib.get_close_matches(strange[0], known.to_dict(), n=1, cutoff=0)
        raise ValueError(f"{config_class.__name__} has no {strange[0]!r}; the nearest valid name is {close[0]!r}.")
    if config.model_type == config_class.model_type:
        return config_class.from_dict({**config.to_dict(), **overrides})
    if config.model_type not in RENAMES:
        raise ValueError(
            f"A {config.model_type!r} model cannot become a {config_class.model_type!r}: there is no conversion for this "
            f"architecture. Supported are {', '.join(map(repr, RENAMES))}."
        )
    if getattr(config, "is_decoder", False):
        raise ValueError("The source is a decoder (is_decoder=True); only encoders can drop tokens.")
    fields = {name: getattr(config, name) for name in SAME_CONFIG_FIELDS if hasattr(config, name)}
    if RENAMES[config.model_type] is ROBERTA_RENAMES:
        fields |= {"position_ids_start": config.pad_token_id + 1, "sep_token_id": config.eos_token_id}
    if config.model_type == "distilbert":
        fields |= {
            "intermediate_size": config.hidden_dim,
            "hidden_act": config.activation,
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.attention_dropout,
            "classifier_dropout": config.seq_classif_dropout,
            "layer_norm_eps": 1e-12,  # DistilBERT's is not configurable
            "pooler_act": "relu",
        }
    return config_class(**(fields | overrides))


def convert_state_dict(model: PreTrainedModel, layers: Sequence[int] | None = None) -> dict[str, torch.Tensor]:
    """Weights of a supported model under BERT's names, head included; with `layers`, only these, renumbered from 0."""
    weights = model.state_dict()
    if model.base_model is model:
        weights = {f"{model.base_model_prefix}.{name}": weight for name, weight in weights.items()}
    weights = {_rename(name, RENAMES.get(model.config.model_type, [])): weight for name, weight in weights.items()}
    if model.config.model_type == "distilbert":  # it has no token types: zeros add nothing
        embeddings = weights["bert.embeddings.word_embeddings.weight"]
        weights["bert.embeddings.token_type_embeddings.weight"] = embeddings.new_zeros(2, model.config.hidden_size)
    if layers is None:
        return weights
    taken = {}
    for name, weight in weights.items():
        start, number, end = re.fullmatch(r"(?:(.*encoder\.layer\.)(\d+))?(.*)", name).groups()
        if number is None:
            taken[name] = weight
        elif int(number) in layers:
            taken[f"{start}{list(layers).index(int(number))}{end}"] = weight
    return taken


@contextlib.contextmanager
def one_clear_error(name: str):
    """Turns the errors of loading weights into a few clear ones.

    Raises:
        OSError: weights that are damaged, not fully downloaded, or a pickle with objects other than tensors, and a folder
            with only an OpenVINO model.
        ValueError: weights of other shapes than the configuration's.
    """
    try:
        yield
    except (OSError, HTTPError) as error:
        broke = error  # the error of transformers may name a missing file; its cause has the reason
        while broke is not None and (not isinstance(broke, HTTPError) or isinstance(broke, HfHubHTTPError)):
            broke = broke.__cause__ or broke.__context__
        if broke is None and "model.safetensors" in str(error) and (Path(name) / "openvino_model.xml").is_file():
            raise OSError(f"{name} is an OpenVINO model. Load it with hf_dynbert.load({str(name)!r}).") from error
        if broke is None:
            raise
        raise OSError(f"{name} was not fully downloaded ({broke}). Nothing was kept; the same call tries again.") from error
    except (SafetensorError, UnpicklingError, EOFError, RuntimeError) as error:
        if type(error) is RuntimeError and "ignore_mismatched_sizes" in str(error):
            raise ValueError(
                f"The weights of {name} have other shapes than those of its config.json; one of the two belongs to another "
                f"model. {error}"
            ) from error
        if type(error) is RuntimeError and "PytorchStreamReader" not in str(error):  # which reads old files
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise OSError(
            f"The weights of {name} are damaged, incomplete, or a pickle that holds more than tensors ({reason}). Download "
            "or save them again, as model.safetensors."
        ) from error


def _load(source: str, model_class, **hub) -> PreTrainedModel:
    """Loads a checkpoint with the head that it was saved with, or with one for this model where its head is unknown."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **hub)
    architecture = getattr(transformers, (config.architectures or [""])[0], None)
    if config.model_type == model_class.config_class.model_type:
        architecture = model_class
    elif config.model_type not in RENAMES:
        architecture = AutoModel
    elif architecture is None:
        architecture = getattr(transformers, f"AutoModel{''.join(re.findall('For.*', model_class.__name__))}")
    with one_clear_error(source):
        model, found = architecture.from_pretrained(source, trust_remote_code=False, output_loading_info=True, **hub)
    missing = sorted(name for name in found["missing_keys"] if re.search(r"embeddings\.|\.layer\.(?!.*token_scorer)", name))
    if missing and config.model_type in (*RENAMES, model_class.config_class.model_type):
        raise ValueError(
            f"The weights of {source} are incomplete: {len(missing)} of the encoder are missing, for example {missing[0]}. "
            "Save or download the model again."
        )
    return model


def _check_layers(layers: Sequence[int], depth: int) -> None:
    rising = all(low < high for low, high in zip(layers, layers[1:], strict=False))
    if not layers or not rising or not set(layers) <= set(range(depth)):
        raise ValueError(
            f"layers is {list(layers)}; valid are rising lists of the source's layers, 0 to {depth - 1}, for example "
            f"layers={list(range(1, depth, 2)) or [0]}."
        )


def _dtype(requested: str | torch.dtype | None) -> torch.dtype | None:
    """The requested type of the weights; `None` for that of the source."""
    if requested in (None, "auto"):
        return None
    dtype = getattr(torch, requested, None) if isinstance(requested, str) else requested
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f'dtype is {requested!r}; valid are "float32", "bfloat16", "float16" and "auto".')
    return dtype


def _device(device_map) -> str | torch.device | None:
    """The one device of `device_map`; `None` is the CPU."""
    if isinstance(device_map, dict) and set(device_map) == {""}:
        device_map = device_map[""]
    if isinstance(device_map, dict):
        raise ValueError(f'device_map is {device_map!r}; from_backbone takes one device, for example device_map="cpu".')
    if device_map == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device_map


def _rename(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        renamed, hits = re.subn(pattern, replacement, name)
        if hits:
            return renamed
    return name
