# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive BERT for the Hugging Face Hub. Importing this package registers it with transformers."""

from .utils import quiet_imports as _quiet_imports  # noqa: F401  (first, since it concerns the next imports)


# isort: split
from typing import TYPE_CHECKING

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .backbones.folder import convert
from .budgets.model_budgets import count_macs
from .budgets.sampling import fit_length_config
from .configuration_dynamic_tinybert import DynamicTinyBertConfig
from .hub.model_card import write_card
from .hub.push import push_folder
from .int8_quantizer import DynamicInt8Config
from .loading import QuestionAnsweringLoader, TextClassificationLoader, load
from .modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)
from .tasks.question_answering import (
    ExtractiveQAPipeline,
    evaluate_squad,
    load_squad,
    split_by_article,
    squad_metrics,
    training_features,
)
from .tasks.reranking.pipeline import TextRerankingPipeline
from .tasks.text_classification.data import cut_texts, load_texts, text_features
from .tasks.text_classification.pipeline import LengthAdaptiveTextClassificationPipeline
from .training.arguments import DistillationArguments
from .training.batches import DistillationCollator
from .training.teachers import teacher_inputs, teacher_logits, teacher_predictions, teacher_text_inputs
from .training.trainer import DistillationTrainer, end_together
from .version import __version__


if TYPE_CHECKING:
    from .openvino.modeling_openvino import (
        OVDynamicTinyBertForQuestionAnswering as OVDynamicTinyBertForQuestionAnswering,
    )
    from .openvino.modeling_openvino import (
        OVDynamicTinyBertForSequenceClassification as OVDynamicTinyBertForSequenceClassification,
    )

# Imported at their first use: OpenVINO and Optimum-Intel take seconds to import, and the core needs neither
OPENVINO_CLASSES = ("OVDynamicTinyBertForQuestionAnswering", "OVDynamicTinyBertForSequenceClassification")

# Without the OpenVINO classes: `import *` must not need the `intel` extra
# fmt: off
__all__ = [
    "DynamicInt8Config", "DistillationArguments", "DistillationCollator", "DistillationTrainer", "DynamicTinyBertConfig",
    "DynamicTinyBertForQuestionAnswering", "DynamicTinyBertForSequenceClassification", "DynamicTinyBertModel",
    "ExtractiveQAPipeline", "LengthAdaptiveTextClassificationPipeline", "__version__", "convert", "count_macs", "cut_texts",
    "end_together", "evaluate_squad", "fit_length_config", "load", "load_squad", "load_texts", "push_folder",
    "split_by_article", "squad_metrics", "teacher_inputs", "teacher_logits", "teacher_predictions", "teacher_text_inputs",
    "TextRerankingPipeline", "text_features", "training_features", "write_card",
]
# fmt: on

# Set up for transformers: AutoModel finds our checkpoints, pipeline() our task.
AutoConfig.register(DynamicTinyBertConfig.model_type, DynamicTinyBertConfig, exist_ok=True)
AutoModel.register(DynamicTinyBertConfig, DynamicTinyBertModel, exist_ok=True)
AutoModelForQuestionAnswering.register(DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering, exist_ok=True)
AutoModelForSequenceClassification.register(DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification, exist_ok=True)
# Not by `register_pipeline`: it would make `pipe.save_pretrained` write folders that need `trust_remote_code=True`
PIPELINE_REGISTRY.supported_tasks["extractive-qa"] = {
    "impl": ExtractiveQAPipeline,
    "pt": (QuestionAnsweringLoader,),
    "type": "text",
}
PIPELINE_REGISTRY.supported_tasks["text-reranking"] = {
    "impl": TextRerankingPipeline,
    "pt": (TextClassificationLoader,),
    "type": "text",
}
PIPELINE_REGISTRY.supported_tasks["text-classification"] |= {
    "impl": LengthAdaptiveTextClassificationPipeline,
    "pt": (TextClassificationLoader,),
}


def __getattr__(name: str):
    """Imports an OpenVINO class at its first use."""
    if name not in OPENVINO_CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .openvino import modeling_openvino
    except ImportError as error:
        raise ImportError(f'{name} needs the intel extra ({error}): pip install "hf_dynbert[intel]"') from error
    return getattr(modeling_openvino, name)


def __dir__() -> list[str]:
    """Names for completion, with those of the OpenVINO classes."""
    return sorted({*globals(), *OPENVINO_CLASSES})
