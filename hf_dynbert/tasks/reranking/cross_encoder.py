# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Files with which `sentence_transformers.CrossEncoder(folder).predict(pairs, budget="fast")` passes the budget on.

Without these files a plain `CrossEncoder` ignores the argument. sentence-transformers 6.2 writes the same files.
"""

MODULES = [
    {
        "idx": 0,
        "name": "0",
        "path": "",
        "type": "sentence_transformers.base.modules.transformer.Transformer",
        "kwargs": ["budget", "length_config"],
    }
]
TRANSFORMER = {
    "transformer_task": "sequence-classification",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "scores",
}


def cross_encoder_files(config) -> dict[str, object]:
    """Name and content of the files of a reranker.

    The activation of its scores is the one of the cross-encoder that it comes from; else the sigmoid of a model that was
    trained on relevant and other passages, and none for one that was trained on grades or scores.

    Args:
        config (`PreTrainedConfig`): configuration of the model.
    """
    own = (getattr(config, "sentence_transformers", None) or {}).get("activation_fn")
    default = "linear.Identity" if config.problem_type == "regression" else "activation.Sigmoid"
    cross_encoder = {
        "__version__": {"sentence_transformers": "6.2.0"},
        "model_type": "CrossEncoder",
        "activation_fn": own or f"torch.nn.modules.{default}",
        "prompts": {},
        "default_prompt_name": None,
    }
    return {
        "modules.json": MODULES,
        "config_sentence_transformers.json": cross_encoder,
        "sentence_bert_config.json": TRANSFORMER,
    }
