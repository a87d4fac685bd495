# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Methods of the models that need the package: conversion, clear errors, choice of a budget, training, model cards.

The other methods are in `modeling_dynamic_tinybert.py`, which is saved beside the weights and also runs without the package.
"""

from collections.abc import Sequence


class PackageMethods:
    """Base class of `DynamicTinyBertPreTrainedModel`."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Loads a model as transformers does, with one clear error for weights that cannot be read.

        Raises:
            OSError: the weights are damaged, not fully downloaded, or a pickle with objects other than tensors.
            ValueError: the weights have other shapes than the configuration's, or the configuration is impossible.
        """
        from .backbones.convert import one_clear_error

        with one_clear_error(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_backbone(cls, source, layers: Sequence[int] | None = None, **config_overrides):
        """Makes this model from a BERT, RoBERTa, XLM-RoBERTa, CamemBERT or DistilBERT model; outputs stay the same.

        Args:
            source (`str` or `PreTrainedModel`): a folder, a Hub id or a model.
            layers (`list[int]`, *optional*): indices from 0 of the layers to take; the result is a student that needs
                distillation. The budgets of a deeper DynamicTinyBert are left out.
            config_overrides: fields of [`DynamicTinyBertConfig`] to set, such as `importance="learned"`; `dtype`,
                `attn_implementation` and `device_map` (one device); and for a Hub id `revision`, `token`, `cache_dir`,
                `local_files_only`, `force_download`, `subfolder`.

        Returns:
            A model of this class in evaluation mode. A warning lists new weights, which the source does not have.

        Raises:
            ValueError: an architecture that is not supported (the error lists the supported ones), a source in int8 or
                without one of `layers`, or an unknown field.
        """
        from .backbones.convert import load_backbone

        return load_backbone(cls, source, layers, **config_overrides)

    def choose_budget(self, **limits) -> list[int | float] | str:
        """See [`~hf_dynbert.budgets.choosing.choose_budget_of`]."""
        from .budgets.choosing import choose_budget_of

        return choose_budget_of(self, **limits)

    def set_importance(self, importance: str) -> None:
        """Changes `config.importance`, and adds or removes the scorers of the model.

        New scorers of `"learned"` need training: they score tokens only by the words that both segments share.

        Args:
            importance (`str`): see [`DynamicTinyBertConfig`].

        Raises:
            ValueError: there is no such importance; the error lists the valid ones.
        """
        from .importance import IMPORTANCES
        from .modeling_dynamic_tinybert import BertAdapter

        self.config.importance = importance
        for index, layer in enumerate(BertAdapter.layers(self.base_model)):
            scorer = IMPORTANCES[importance].make_scorer(self.config, index) if layer.may_drop else None
            if scorer is None or type(scorer) is not type(layer.token_scorer):  # keep one of the same class
                layer.token_scorer = scorer
                if scorer is not None:
                    weight = next(layer.parameters())
                    scorer.to(weight.device, weight.dtype).apply(self._init_weights)

    def _upload_modified_files(self, working_dir: str, repo_id: str, *args, **kwargs):
        """Writes this package's model card over the template of transformers, then uploads, for both ways of pushing."""
        from .hub.model_card import write_card

        write_card(working_dir, repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)
