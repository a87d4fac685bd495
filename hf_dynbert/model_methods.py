# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Methods of the models that need the package: conversion, clear errors, choice of a budget, training, model cards.

The other methods are in `modeling_dynamic_tinybert.py`, which is saved beside the weights and also runs without the package.
"""

from collections.abc import Sequence


class PackageMethods:
    """Base class of `DynamicTinyBertPreTrainedModel`."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Loads a model as everywhere in transformers, with one clear error for weights that cannot be read.

        Raises:
            OSError: the weights are damaged, incomplete, a pickle of more than tensors, or their download broke off.
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
            A model of this class in evaluation mode. A warning names weights that are new because the source has none.

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
        """Changes the importance of tokens, in the model and in its configuration; adds scorers or removes them.

        New scorers of `"learned"` find the words that both segments share, and nothing else: they need training.

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
            if scorer is None or type(scorer) is not type(layer.token_scorer):  # a scorer of the same kind may be trained
                layer.token_scorer = scorer
                if scorer is not None:
                    weight = next(layer.parameters())
                    scorer.to(weight.device, weight.dtype).apply(self._init_weights)

    def _upload_modified_files(self, working_dir: str, repo_id: str, *args, **kwargs):
        """The last step of both ways of pushing; writes this package's model card over the template of transformers."""
        from .hub.model_card import write_card

        write_card(working_dir, repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)
