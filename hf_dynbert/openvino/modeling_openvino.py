# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive models in OpenVINO: Optimum-Intel's classes with a dial."""

import collections
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import torch
from optimum.intel import OVModelForQuestionAnswering, OVModelForSequenceClassification
from optimum.intel.openvino.modeling import OVModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from ..backbones.convert import HUB_ARGUMENTS, one_clear_error
from ..budgets.choosing import choose_budget_of
from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from ..drop_and_restore import WIDTH_STEP
from ..hub.push import push_folder
from ..subnetwork import SHARE_UNIT, encode_length_config
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .cpu import warn_of_overflow
from .export import DIAL, attach_dial, has_dial, without_drops


# Transformers without this package reads config.json too, and must find an architecture that it knows
FOREIGN_TYPE = "bert"
# Of what is not int8. OpenVINO would take bf16 where the CPU has it: other answers than elsewhere, and at these sizes slower
# (4 % on a Xeon with AVX512-BF16, OpenVINO 2026.4)
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
ROOM = 2**17  # tokens of the shapes whose tensors a request keeps: 3 MB, enough for all lengths to 512 at a batch of 8
DEFAULTS = {"attention_mask": 1, "token_type_ids": 0}  # of what a caller leaves out


class LengthAdaptiveOVModel:
    """What the classes of this module add to Optimum-Intel's: `length_config` as an argument of the call.

    The budget goes to an inference request of the call's own, so that threads do not meet. Where every token stays, a graph
    of the same weights answers that chooses none. `from_pretrained(..., export=True)` takes a PyTorch checkpoint of this
    package.
    """

    def __init__(self, model: openvino.Model, config: DynamicTinyBertConfig | None = None, **kwargs):
        if isinstance(model, openvino.Model) and not has_dial(model):  # Optimum's own export has only the default budget
            attach_dial(model)
        if isinstance(model, openvino.Model):
            warn_of_overflow(model)
        self._compiling, self._compiling_whole = threading.Lock(), threading.Lock()
        self._graph, self._remembered = None, (None, ())
        kwargs["ov_config"] = PRECISION | (kwargs.get("ov_config") or {})
        super().__init__(model, config, **kwargs)

    def choose_budget(self, **limits) -> list[int | float] | str:
        """See [`~hf_dynbert.budgets.choosing.choose_budget_of`]."""
        return choose_budget_of(self, **limits)

    @property
    def runtime_name(self) -> str:
        """OpenVINO, its version, and what the weights are."""
        graph = self.model if isinstance(self.model, openvino.Model) else self.model.get_runtime_model()  # compile_only
        kinds = {op.get_element_type() for op in graph.get_ops() if op.get_type_name() == "Constant"}
        return f"OpenVINO {openvino.__version__} {'int8' if openvino.Type.i8 in kinds else 'fp32'} on {self._device}"

    @property
    def threads(self) -> int:
        """How many a call takes: those of `ov_config`, or all cores that this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return int(self.ov_config.get("INFERENCE_NUM_THREADS", 0)) or cores

    def compile(self) -> None:
        """Compiles the model if it is not; one thread does, the others wait."""
        with self._compiling:
            super().compile()

    @staticmethod
    def load_model(file_name: str | Path, *args, **kwargs) -> openvino.Model:
        """Reads an OpenVINO file.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return OVModel.load_model(file_name, *args, **kwargs)
        except RuntimeError as error:
            raise ValueError(
                f"{file_name} cannot be read as an OpenVINO model; it or its .bin file is damaged or incomplete. "
                f"Download or export it again. OpenVINO says: {str(error).strip().splitlines()[-1]}"
            ) from error

    @classmethod
    def from_pretrained(cls, model_id: str | Path, *args, config: DynamicTinyBertConfig | None = None, **kwargs):
        """Loads an OpenVINO folder or Hub repository; with `export=True`, converts a PyTorch checkpoint.

        Raises:
            ValueError: it holds no length-adaptive model, or a damaged one.
            OSError: there is none, or it broke off on its way.
        """
        with one_clear_error(model_id):
            if config is None:
                config = load_config(model_id, **{name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs})
            return super().from_pretrained(model_id, *args, config=config, **kwargs)

    def push_to_hub(
        self,
        save_directory: str | Path,
        repository_id: str,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model",
    ) -> str:
        """Uploads a folder that `save_pretrained` wrote, with what else lies in it, in one commit; see `push_folder`."""
        return push_folder(save_directory, repository_id, private, revision, commit_message, token)

    def _save_config(self, save_directory) -> None:
        """Under a type that transformers knows, without code of this package; `load_config` reads the true one."""
        super()._save_config(save_directory)
        path = Path(save_directory) / "config.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("auto_map", None)
        if values["model_type"] == DynamicTinyBertConfig.model_type:
            values |= {"model_type": FOREIGN_TYPE, "dynamic_model_type": DynamicTinyBertConfig.model_type}
            with replace_files(path.parent) as beside:
                (beside / path.name).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _answer(self, length_config, input_ids, attention_mask, token_type_ids) -> list:
        """The model's outputs as arrays; of tokens as many as `_width` says.

        Short, since a call's Python costs several times as much behind an inference, which empties the caches, as in a loop.
        """
        encoded = self._encoded(length_config)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        given = {name: _array(values) for name, values in given.items() if values is not None}
        ids = given["input_ids"]
        if ids.ndim != 2 or ids.size == 0:
            self.config.check_inputs(ids)  # raises
        for name, values in given.items():
            if values.shape != ids.shape:
                raise ValueError(f"{name} has the shape {values.shape}, input_ids {ids.shape}; both must be alike.")
        batch, length = ids.shape
        if attention_mask is not None and self.is_dynamic:
            length = _without_padding(given["attention_mask"])
            if length < ids.shape[1]:
                given = {name: values[:, :length] for name, values in given.items()}
        self.config.check_inputs(given["input_ids"], given.get("token_type_ids"))
        inputs = [given[name] if name in given else DEFAULTS[name] for name in self.input_names]
        return self._graph_for(encoded)(inputs, (batch, length, self._width(length)), encoded)

    def _encoded(self, length_config: str | Sequence[int | float] | None) -> tuple[int, ...]:
        """What a request takes. That of the call before is remembered: checking one takes a tenth of a millisecond."""
        config, name = self.config, length_config if isinstance(length_config, str) else None
        meant = length_config
        if name is not None:  # whoever changes a budget in config is heard
            meant = (config.budgets or {}).get(name)
            meant = meant.get("length_config") if isinstance(meant, dict) else meant
        elif meant is None:
            meant = config.length_config
        # 1 is a token, 1.0 all of them, and both are equal
        key = (name, *meant, *map(type, meant)) if isinstance(meant, (list, tuple)) else (name, repr(meant))
        remembered, encoded = self._remembered
        if key != remembered:
            encoded = tuple(encode_length_config(config.resolve_length_config(length_config), config.num_hidden_layers))
            self._remembered = key, encoded  # both at once, so threads see none or both
        return encoded

    def _width(self, length: int) -> int:
        """Slots for inputs of this length: a multiple of `WIDTH_STEP`.

        A runtime compiles kernels for each length that it meets: so there are fewer, and those that are fast.
        """
        if not self.is_dynamic:
            return length
        return min(-(-length // WIDTH_STEP) * WIDTH_STEP, max(length, self.config.max_tokens))

    def _graph_for(self, encoded: tuple[int, ...]) -> "Graph":
        """What answers at this length configuration."""
        graph = self._graph
        if graph is None or graph.compiled is not self.request:  # the first call, or after reshape()
            graph = self._compiled_graph()
        if self._compile_only or encoded.count(SHARE_UNIT) < len(encoded):
            return graph
        return graph.whole or self._compile_whole(graph)

    def _compiled_graph(self) -> "Graph":
        """The model as it is, compiled by the first thread that comes."""
        with self._compiling:
            super().compile()
            if self._graph is None or self._graph.compiled is not self.request:
                self._graph = Graph(self.request)
            return self._graph

    def _compile_whole(self, graph: "Graph") -> "Graph":
        """The graph in which every token stays, when it is first asked for; other budgets do not wait for it."""
        with self._compiling_whole:
            if graph.whole is None:
                plain, how = without_drops(self.model), (self._device, {**self.ov_config}, self.model_save_dir)
                graph.whole = graph if plain is None else Graph(self._compile_model(plain, *how), dial=False)
        return graph.whole


def _without_padding(attention_mask: np.ndarray) -> int:
    """Tokens up to the last that is one in any example."""
    if any(attention_mask[:, -1].tolist()):  # mostly, and quickly
        return attention_mask.shape[1]
    used = np.flatnonzero(attention_mask.any(axis=0))
    if not len(used):
        raise ValueError(f"attention_mask {attention_mask.shape} is 0 everywhere; mark the real tokens with 1.")
    return int(used[-1]) + 1


def _array(values) -> np.ndarray:
    """Tensors or lists as an array."""
    return values.numpy() if isinstance(values, torch.Tensor) else np.asarray(values)  # np.asarray(tensor) is slower


def _of_length(logits: np.ndarray, length: int) -> np.ndarray:
    """`(B, N)` cut to `(B, length)`, or filled with the lowest number."""
    if logits.shape[1] >= length:
        return logits[:, :length]
    widths = (0, length - logits.shape[1])
    return np.pad(logits, [(0, 0), widths], constant_values=np.finfo(logits.dtype).min)


def _like(values: np.ndarray, inputs: torch.Tensor | np.ndarray) -> torch.Tensor | np.ndarray:
    """As a tensor for who came with tensors."""
    return torch.from_numpy(values) if isinstance(inputs, torch.Tensor) else values


class Graph:
    """A compiled graph and its free requests, each of one thread at a time.

    Args:
        compiled (`openvino.CompiledModel`): the graph.
        dial (`bool`): whether it takes a length configuration.
    """

    def __init__(self, compiled: openvino.CompiledModel, dial: bool = True):
        self.compiled, self.dial, self.whole = compiled, dial, None  # whole: the same weights without choosing tokens
        self.requests = collections.deque()  # its methods are of one thread at a time

    def __call__(self, inputs: Sequence, shape: tuple[int, int, int], length_config: tuple[int, ...]) -> list[np.ndarray]:
        """See [`Request`]."""
        try:
            request = self.requests.pop()
        except IndexError:  # all are at work
            request = Request(self.compiled, self.dial)
        outputs = request(inputs, shape, length_config)
        self.requests.append(request)  # not one that raised: what it holds is unknown
        return outputs


class Request:
    """An inference request with its dial; of one thread at a time.

    By the tensors' places, not their names: looking names and types up takes a tenth of a millisecond a call. Making tensors
    takes half of that, so those of each shape are kept.
    """

    def __init__(self, model: openvino.CompiledModel, dial: bool):
        self.request, self.length_config = model.create_infer_request(), None
        # Of each output `(B, columns)`: as many as a classifier has labels; 0 where there is one a slot
        self.columns = [0 if shape[1].is_dynamic else len(shape[1]) for shape in (o.partial_shape for o in model.outputs)]
        self.rooms, self.shape = {}, None  # by shape: an array for all inputs, and each one's tensor in it; that in use
        self.dial = next((state for state in self.request.query_state() if state.name == DIAL), None)
        if dial and self.dial is None:
            raise ValueError(
                "This compiled model has its default budget alone: it was exported without a dial. Load it without "
                "compile_only=True, and save it with save_pretrained."
            )

    def __call__(self, inputs: Sequence, shape: tuple[int, int, int], length_config: tuple[int, ...]) -> list[np.ndarray]:
        """Inputs and an encoded length configuration give the outputs.

        Args:
            inputs (`list`): in the model's order, arrays `(B, L)` or one number for all of it.
            shape (`tuple[int, int, int]`): B, L and the slots that L tokens take. The others are zeros, which the attention
                mask leaves out.
            length_config (`tuple[int]`): see `encode_length_config`.
        """
        if self.dial is not None and length_config != self.length_config:
            self.dial.state = openvino.Tensor(np.array(length_config, dtype=np.int32))
            self.length_config = length_config
        batch, length, width = shape
        room = self._room(len(inputs), batch, width)
        room[:, :, length:] = 0
        for place, values in zip(room, inputs, strict=True):
            place[:, :length] = values
        self.request.infer()
        # Copies: the next call writes over the request's own
        outputs = [self.request.get_output_tensor(index).data.copy() for index in range(len(self.columns))]
        for output, columns in zip(outputs, self.columns, strict=True):
            # With one thread OpenVINO 2026.4 may swallow an error; the outputs are then those of the call before
            if output.shape != (batch, columns or width):
                raise RuntimeError(f"OpenVINO answered {output.shape} instead of {(batch, columns or width)}.")
        return outputs

    def _room(self, inputs: int, batch: int, width: int) -> np.ndarray:
        """`(inputs, batch, width)`, which the next inference reads."""
        shape = batch, width
        if shape not in self.rooms:
            if sum(rows * slots for rows, slots in self.rooms) + batch * width > ROOM:
                self.rooms, self.shape = {}, None
            room = np.empty((inputs, *shape), dtype=np.int64)
            self.rooms[shape] = room, [openvino.Tensor(values, shared_memory=True) for values in room]
        room, tensors = self.rooms[shape]
        if shape != self.shape:
            for index, tensor in enumerate(tensors):
                self.request.set_input_tensor(index, tensor)
            self.shape = shape
        return room


class OVDynamicTinyBertForQuestionAnswering(LengthAdaptiveOVModel, OVModelForQuestionAnswering):
    """[`~optimum.intel.OVModelForQuestionAnswering`] with a dial, see [`DynamicTinyBertForQuestionAnswering`].

    Example:

    ```python
    >>> model = OVDynamicTinyBertForQuestionAnswering.from_pretrained("outputs/dynamic-minilm-squad", export=True)
    >>> model(**tokenizer(question, context, return_tensors="pt"), length_config="half")
    ```
    """

    def forward(
        self,
        input_ids: torch.Tensor | np.ndarray,
        attention_mask: torch.Tensor | np.ndarray | None = None,
        token_type_ids: torch.Tensor | np.ndarray | None = None,
        length_config: str | Sequence[int | float] | None = None,
    ) -> QuestionAnsweringModelOutput:
        r"""
        Args:
            input_ids, attention_mask, token_type_ids (of shape `(batch, L)`): as for the PyTorch model.
            length_config (`list`, `str`, *optional*): a length configuration, a budget's name, `"full"`, or `None` for the
                model's default.

        Returns:
            [`~transformers.modeling_outputs.QuestionAnsweringModelOutput`]: logits `(batch, L)`. Padding behind all texts of
            a batch is not computed: its logits say nothing.

        Raises:
            ValueError: an impossible length configuration, an unknown budget (the error lists the known), inputs of other
                shapes, no token at all, or inputs outside of the embeddings, see [`DynamicTinyBertConfig.check_inputs`].
        """
        both = self._answer(length_config, input_ids, attention_mask, token_type_ids)
        start, end = (_like(_of_length(logits, input_ids.shape[1]), input_ids) for logits in both)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)


class OVDynamicTinyBertForSequenceClassification(LengthAdaptiveOVModel, OVModelForSequenceClassification):
    """[`~optimum.intel.OVModelForSequenceClassification`] with a dial, see [`DynamicTinyBertForSequenceClassification`]."""

    def forward(
        self,
        input_ids: torch.Tensor | np.ndarray,
        attention_mask: torch.Tensor | np.ndarray | None = None,
        token_type_ids: torch.Tensor | np.ndarray | None = None,
        length_config: str | Sequence[int | float] | None = None,
    ) -> SequenceClassifierOutput:
        r"""
        Args:
            input_ids, attention_mask, token_type_ids (of shape `(batch, L)`): as for the PyTorch model.
            length_config (`list`, `str`, *optional*): a length configuration, a budget's name, `"full"`, or `None` for the
                model's default.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`]: logits `(batch, labels)`.

        Raises:
            ValueError: an impossible length configuration, an unknown budget (the error lists the known), inputs of other
                shapes, no token at all, or inputs outside of the embeddings, see [`DynamicTinyBertConfig.check_inputs`].
        """
        (logits,) = self._answer(length_config, input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(logits=_like(logits, input_ids))
