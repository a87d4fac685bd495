# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive models in OpenVINO: Optimum-Intel's classes with a budget as an argument of the call."""

import collections
import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino
import torch
from optimum.intel import OVModelForQuestionAnswering, OVModelForSequenceClassification
from optimum.intel.openvino.modeling import OVModel
from transformers.modeling_outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput

from ..backbones.convert import HUB_ARGUMENTS, one_clear_error
from ..budgets.budget import read_budgets
from ..budgets.choosing import choose_budget_of
from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from ..drop_and_restore import WIDTH_STEP
from ..hub.push import push_folder
from ..subnetwork import SHARE_UNIT, SubNetwork, divide_up, refuse_unknown_arguments, resolve_arguments
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .cpu import warn_of_overflow
from .export import (
    LENGTH_CONFIG,
    add_length_config_state,
    has_length_config_state,
    input_to_state,
    state_to_input,
    without_drops,
)
from .graph_checks import check_outputs, check_sizes


# `model_type` in config.json, which transformers must also be able to read without this package
FOREIGN_TYPE = "bert"
# Precision of all operations that are not int8. OpenVINO's default is bf16 if the CPU has it: outputs would differ between
# CPUs, and at these sizes bf16 is slower (4 % on a Xeon with AVX512-BF16, OpenVINO 2026.4)
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
BUFFERED_TOKENS = 2**17  # tokens in the buffers of a request: 3 MB, enough for all lengths to 512 at a batch of 8
DEFAULTS = {"attention_mask": 1, "token_type_ids": 0}  # values of the inputs that a caller leaves out
# Arguments of Optimum's from_pretrained, in addition to those for the Hub. Optimum ignores any other name
LOADING_ARGUMENTS = """export config trust_remote_code file_name from_onnx load_in_8bit quantization_config task compile
compile_only device dynamic_shapes ov_config variant preprocessors generation_config""".split()
GRAPH_OUTPUTS = {"ForQuestionAnswering": ("start_logits", "end_logits"), "ForSequenceClassification": ("logits",)}
CALL_ARGUMENTS = ("input_ids", "attention_mask", "token_type_ids", "budget", "length_config", "return_dict")


class LengthAdaptiveOVModel:
    """Additions of this module's classes to Optimum-Intel's: `budget` and `length_config` as arguments of the call.

    Each call has its own inference request, so threads may call one model with different budgets. If all tokens are kept, a
    graph of the same weights that selects no tokens runs: at `"full"`, and for examples with fewer tokens than
    `config.min_tokens_to_drop`. `from_pretrained(..., export=True)` takes a PyTorch checkpoint of this package.
    """

    def __init__(self, model: openvino.Model, config: DynamicTinyBertConfig | None = None, **kwargs):
        check_outputs(model, self.graph_outputs)
        if isinstance(model, openvino.Model):
            if any(LENGTH_CONFIG in node.get_names() for node in model.inputs):  # saved with length_config_as_input=True
                input_to_state(model, resolve_arguments(config).encode(config))
            elif not has_length_config_state(model):  # Optimum's own export has only the default budget
                add_length_config_state(model)
            check_sizes(model, config)
            warn_of_overflow(model)
        self._compiling, self._compiling_without_drops = threading.Lock(), threading.Lock()
        self._graph = None
        self._last_encoded = None, ()  # see `_encoded`
        self._named_runtime = None, ""  # see `runtime_name`
        kwargs["ov_config"] = PRECISION | (kwargs.get("ov_config") or {})
        super().__init__(model, config, **kwargs)

    def choose_budget(self, **limits) -> list[int | float] | str:
        """See [`~hf_dynbert.budgets.choosing.choose_budget_of`]."""
        return choose_budget_of(self, **limits)

    @property
    def runtime_name(self) -> str:
        """OpenVINO, its version, and the type of the weights."""
        model, name = self._named_runtime
        if model is not self.model:
            graph = self.model if isinstance(self.model, openvino.Model) else self.model.get_runtime_model()  # compile_only
            kinds = {op.get_element_type() for op in graph.get_ops() if op.get_type_name() == "Constant"}
            name = f"OpenVINO {openvino.__version__} {'int8' if openvino.Type.i8 in kinds else 'fp32'}"
            self._named_runtime = self.model, name  # one assignment, so that no thread sees a mixed pair
        return f"{name} on {self._device}"

    @property
    def threads(self) -> int:
        """Threads of a call: those of `ov_config`, or all cores that this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return int(self.ov_config.get("INFERENCE_NUM_THREADS", 0)) or cores

    def compile(self) -> None:
        """Compiles the model once; other threads wait."""
        with self._compiling:
            super().compile()

    @staticmethod
    def load_model(file_name: str | Path, *args, **kwargs) -> openvino.Model:
        """Reads an OpenVINO file.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            return OVModel.load_model(file_name, *args, **kwargs)
        except RuntimeError as error:
            raise ValueError(
                f"{file_name} cannot be read as an OpenVINO model; it or its .bin file is damaged or incomplete. "
                f"Download or export it again. The error of OpenVINO: {str(error).strip().splitlines()[-1]}"
            ) from error

    @classmethod
    def from_pretrained(cls, model_id: str | Path, *args, config: DynamicTinyBertConfig | None = None, **kwargs):
        """Loads an OpenVINO folder or Hub repository; with `export=True`, converts a PyTorch checkpoint.

        Args:
            model_id (`str` or `Path`): a folder or a Hub id.
            config ([`DynamicTinyBertConfig`], *optional*): in place of the one in the folder.
            kwargs: arguments of Optimum-Intel's `from_pretrained`, such as `export`, `subfolder`, `ov_config`.

        Raises:
            TypeError: an unknown argument.
            ValueError: the model is not length-adaptive, or damaged.
            OSError: there is no model, or a download was interrupted.
        """
        refuse_unknown_arguments(kwargs, [*HUB_ARGUMENTS, *LOADING_ARGUMENTS])
        # Also set here: with compile_only=True Optimum compiles before __init__, and on the device AUTO by default
        kwargs |= {"ov_config": PRECISION | (kwargs.get("ov_config") or {}), "device": kwargs.get("device") or "CPU"}
        with one_clear_error(model_id), _without_false_alarms(model_id):
            if config is None:
                config = load_config(model_id, **{name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs})
            read_budgets(config.budgets)  # refuses measured values that are no numbers
            return super().from_pretrained(str(model_id), *args, config=config, **kwargs)

    def save_pretrained(self, save_directory: str | Path, *args, length_config_as_input: bool = False, **kwargs) -> None:
        """Saves the model and its configuration.

        Args:
            save_directory (`str` or `Path`): the folder.
            length_config_as_input (`bool`, *optional*, defaults to `False`): save a graph with the length configuration as a
                fourth input, for model servers that cannot set the state of a request. See `docs/serving.md` for its
                encoding. This class loads such a folder too.
            args, kwargs: see Optimum-Intel.
        """
        super().save_pretrained(save_directory, *args, **kwargs)
        if length_config_as_input:
            with replace_files(Path(save_directory)) as staging:
                # By default OpenVINO would store floats in 16 bits
                openvino.save_model(
                    state_to_input(self.model.clone()), staging / self._ov_model_paths["model"], compress_to_fp16=False
                )

    def push_to_hub(
        self,
        save_directory: str | Path,
        repository_id: str,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model",
    ) -> str:
        """Uploads all files of a folder that `save_pretrained` wrote, in one commit; see `push_folder`."""
        return push_folder(save_directory, repository_id, private, revision, commit_message, token)

    def _save_config(self, save_directory) -> None:
        """Saves a model type that transformers has without this package, and the true type for `load_config`."""
        super()._save_config(save_directory)
        path = Path(save_directory) / "config.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("auto_map", None)
        if values["model_type"] == DynamicTinyBertConfig.model_type:
            values |= {"model_type": FOREIGN_TYPE, "dynamic_model_type": DynamicTinyBertConfig.model_type}
            with replace_files(path.parent) as staging:
                (staging / path.name).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def forward(
        self,
        input_ids: torch.Tensor | np.ndarray,
        attention_mask: torch.Tensor | np.ndarray | None = None,
        token_type_ids: torch.Tensor | np.ndarray | None = None,
        budget: str | Sequence[int | float] | dict | SubNetwork | None = None,
        length_config: str | Sequence[int | float] | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> QuestionAnsweringModelOutput | SequenceClassifierOutput | tuple:
        r"""
        Args:
            input_ids, attention_mask, token_type_ids (of shape `(batch, L)`): as for the PyTorch model.
            budget (`str`, `list`, `dict` or `SubNetwork`, *optional*): the name of a budget, a length configuration, a
                `dict` or a [`~hf_dynbert.subnetwork.SubNetwork`]; `None` runs the model's default.
            length_config (`list` or `str`, *optional*): short form of `budget` for a length configuration or a name.
            return_dict (`bool`, *optional*): `False` returns a tuple.

        Returns:
            [`~transformers.modeling_outputs.QuestionAnsweringModelOutput`] with logits `(batch, L)`, or
            [`~transformers.modeling_outputs.SequenceClassifierOutput`] with logits `(batch, labels)`. Padding behind all
            texts of a batch is not computed; its logits are the lowest number.

        Raises:
            ValueError: an unknown budget (the error lists the valid ones), an impossible value, both arguments, inputs of
                unequal shapes, no token at all, inputs that do not fit a fixed shape, or inputs outside of the embeddings,
                see [`DynamicTinyBertConfig.check_inputs`].
            TypeError: an unknown keyword argument.
        """
        refuse_unknown_arguments(kwargs, CALL_ARGUMENTS)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        output = self._head_output(self._outputs(budget, length_config, inputs), input_ids)
        return output.to_tuple() if return_dict is False else output

    def _outputs(self, budget, length_config, inputs: dict) -> list[np.ndarray]:
        """The model's outputs as arrays. Outputs of tokens have the graph's width, see `_width`.

        Keep this method short: inference evicts the CPU caches, so Python code that runs right after it is several times
        slower than in a loop of its own.
        """
        encoded = self._encoded(budget, length_config)
        inputs = {name: _array(values) for name, values in inputs.items() if values is not None or name == "input_ids"}
        ids = inputs["input_ids"]
        if ids.ndim != 2 or ids.size == 0:
            self.config.check_inputs(ids)  # raises
        for name, values in inputs.items():
            if values.shape != ids.shape:
                raise ValueError(f"{name} has the shape {values.shape}, input_ids {ids.shape}; both must be alike.")
        if "attention_mask" in inputs:
            inputs["attention_mask"] = inputs["attention_mask"] != 0  # fractions mark real tokens, as in PyTorch
        mask, least = inputs.get("attention_mask"), self.config.min_tokens_to_drop
        if "token_type_ids" not in inputs and (types := self.config.token_types(ids, mask)) is not None:
            inputs["token_type_ids"] = types.astype(np.int64)
        inputs = _without_padding(inputs)
        self.config.check_inputs(inputs["input_ids"], inputs.get("token_type_ids"))
        if least and not _keeps_all(encoded):
            tokens = [ids.shape[1]] * len(ids) if mask is None else (mask > 0).sum(axis=1)
            short = np.less(tokens, least)
            if short.all():
                encoded = (SHARE_UNIT,) * len(encoded)
            elif short.any():
                return self._outputs_apart(inputs, short, encoded)
        return self._run(inputs, encoded)

    def _outputs_apart(self, inputs: dict, short: np.ndarray, encoded: tuple[int, ...]) -> list[np.ndarray]:
        """Outputs of a batch in which the `short` examples `(B,)` keep all tokens and the other examples do not.

        The outputs of an example do not depend on examples of the other kind.
        """
        everything = (SHARE_UNIT,) * len(encoded)
        if not self.is_dynamic:  # the batch has a fixed size: run it twice
            of_short, of_long = self._run(inputs, everything), self._run(inputs, encoded)
            return [np.where(short[:, None], *arrays) for arrays in zip(of_short, of_long, strict=True)]
        of_short = self._run(_without_padding({name: values[short] for name, values in inputs.items()}), everything)
        of_long = self._run(_without_padding({name: values[~short] for name, values in inputs.items()}), encoded)
        outputs = []
        for short_array, long_array in zip(of_short, of_long, strict=True):
            width = max(short_array.shape[1], long_array.shape[1])
            output = np.empty((len(short), width), dtype=np.float32)
            output[short] = _of_length(short_array, width)
            output[~short] = _of_length(long_array, width)
            outputs.append(output)
        return outputs

    def _run(self, inputs: dict, encoded: tuple[int, ...]) -> list[np.ndarray]:
        """Outputs of checked inputs at an encoded length configuration."""
        graph = self._graph_for(encoded)
        batch, length = inputs["input_ids"].shape
        values = [inputs.get(name, DEFAULTS.get(name)) for name in self.input_names]
        return graph(values, (batch, length, self._width(graph, batch, length)), encoded)

    def _encoded(self, budget, length_config) -> tuple[int, ...]:
        """The length configuration as a graph takes it.

        The last result is cached, since parsing a budget takes 0.1 ms.
        """
        requested = length_config if budget is None else budget
        if requested is None:
            requested = self.config.length_config
        entry = None
        if isinstance(requested, str):  # the key contains the budget's entry, so that a changed budget takes effect
            entry = (self.config.budgets or {}).get(requested)
            if isinstance(entry, Mapping):
                entry = entry.get("length_config"), entry.get("layers")
        key = repr((budget, length_config, requested, entry))  # repr distinguishes 1, a token, from 1.0, all tokens
        last_key, encoded = self._last_encoded
        if key != last_key:
            encoded = tuple(resolve_arguments(self.config, budget, length_config).encode(self.config))
            self._last_encoded = key, encoded  # one assignment, so that no thread sees a mixed pair
        return encoded

    def _width(self, graph: "Graph", batch: int, length: int) -> int:
        """Slots for inputs of this size: a multiple of `WIDTH_STEP`, or the graph's own length after `reshape()`.

        A runtime compiles kernels for each new length. With a step there are fewer lengths, all of them fast.

        Raises:
            ValueError: the inputs do not fit the fixed shape of the graph.
        """
        if self.is_dynamic:
            return min(divide_up(length, WIDTH_STEP) * WIDTH_STEP, max(length, self.config.max_tokens))
        fixed_batch, fixed_length = graph.shape
        if batch != (fixed_batch or batch) or length > (fixed_length or length):
            raise ValueError(
                f"{batch} x {length} tokens do not fit: reshape() gave this model the shape "
                f"{fixed_batch or 'any'} x {fixed_length or 'any'}. Shorter inputs are padded; for other batches or longer "
                "inputs call model.reshape(-1, -1)."
            )
        return fixed_length or length

    def _graph_for(self, encoded: tuple[int, ...]) -> "Graph":
        """The graph that computes this length configuration."""
        graph = self._graph
        if graph is None or graph.compiled is not self.request:  # the first call, or after reshape()
            graph = self._compiled_graph()
        if self._compile_only or not _keeps_all(encoded):
            return graph
        return graph.without_drops or self._compile_without_drops(graph)

    def _compiled_graph(self) -> "Graph":
        """The model as it is, compiled by the first thread that needs it."""
        with self._compiling:
            super().compile()
            if self._graph is None or self._graph.compiled is not self.request:
                graph = Graph(self.request)
                if graph.requests[0].variable is None:
                    raise ValueError(
                        "This compiled model has its default budget alone: it was exported without the length_config state. "
                        "Load it without compile_only=True, and save it with save_pretrained."
                    )
                self._graph = graph
            return self._graph

    def _compile_without_drops(self, graph: "Graph") -> "Graph":
        """The graph that keeps all tokens, compiled when it is first needed; other budgets do not wait for it."""
        with self._compiling_without_drops:
            if graph.without_drops is None:
                model = without_drops(self.model)
                if model is None:
                    graph.without_drops = graph
                else:
                    compiled = self._compile_model(model, self._device, {**self.ov_config}, self.model_save_dir)
                    graph.without_drops = Graph(compiled)
        return graph.without_drops


@contextlib.contextmanager
def _without_false_alarms(model_id: str | Path) -> Iterator[None]:
    """Hides a false warning: offline, Optimum takes every local folder for a Hub id and reports that it is missing."""

    def is_true(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Could not infer whether the model was already converted")

    logger = logging.getLogger("optimum.intel.openvino.modeling_base")
    if Path(model_id).is_dir():
        logger.addFilter(is_true)
    try:
        yield
    finally:
        logger.removeFilter(is_true)


def _keeps_all(encoded: tuple[int, ...]) -> bool:
    """Whether an encoded length configuration keeps all tokens."""
    return encoded.count(SHARE_UNIT) == len(encoded)


def _without_padding(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs without the padding that all examples have at their end."""
    mask = inputs.get("attention_mask")
    if mask is None or any(mask[:, -1].tolist()):  # the usual case, decided quickly
        return inputs
    used = np.flatnonzero(mask.any(axis=0))
    if not len(used):
        raise ValueError(f"attention_mask {mask.shape} is 0 everywhere; mark the real tokens with 1.")
    return {name: values[:, : used[-1] + 1] for name, values in inputs.items()}


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
    """A tensor if the inputs are tensors."""
    return torch.from_numpy(values) if isinstance(inputs, torch.Tensor) else values


class Graph:
    """A compiled graph and its free requests. A request serves one thread at a time.

    Args:
        compiled (`openvino.CompiledModel`): the graph.
    """

    def __init__(self, compiled: openvino.CompiledModel):
        self.compiled = compiled
        self.without_drops = None  # a graph of the same weights that selects no tokens
        sizes = compiled.inputs[0].partial_shape
        self.shape = [None if size.is_dynamic else size.get_length() for size in sizes]  # batch and length; None: any
        self.requests = collections.deque([Request(compiled)])  # pop and append are atomic

    def __call__(self, inputs: Sequence, shape: tuple[int, int, int], length_config: tuple[int, ...]) -> list[np.ndarray]:
        """See [`Request`]."""
        try:
            request = self.requests.pop()
        except IndexError:  # all requests are in use
            request = Request(self.compiled)
        outputs = request(inputs, shape, length_config)
        self.requests.append(request)  # a request that raised is not used again: its contents are unknown
        return outputs


class Request:
    """An inference request with its length configuration, for one thread at a time.

    Tensors are addressed by index, since looking up names and types takes 0.1 ms per call. Making tensors takes half of
    that, so the tensors of each shape are cached.
    """

    def __init__(self, model: openvino.CompiledModel):
        self.request, self.length_config = model.create_infer_request(), None
        # Columns of each output `(B, columns)`: the labels of a classifier; 0 where there is one column per slot
        shapes = [output.partial_shape for output in model.outputs]
        self.columns = [0 if shape[1].is_dynamic else shape[1].get_length() for shape in shapes]
        self.buffers = {}  # shape `(batch, width)` -> an array for all inputs, and the tensor of each input
        self.shape = None  # of the buffer in use
        # `None` in a graph that keeps all tokens
        self.variable = next((state for state in self.request.query_state() if state.name == LENGTH_CONFIG), None)

    def __call__(self, inputs: Sequence, shape: tuple[int, int, int], length_config: tuple[int, ...]) -> list[np.ndarray]:
        """Returns the outputs.

        Args:
            inputs (`list`): in the model's order, arrays `(B, L)`, or a number that fills the input.
            shape (`tuple[int, int, int]`): B, L and the number of slots. Slots after L are zeros, also in the mask.
            length_config (`tuple[int]`): see `SubNetwork.encode`.
        """
        if self.variable is not None and length_config != self.length_config:
            self.variable.state = openvino.Tensor(np.array(length_config, dtype=np.int32))
            self.length_config = length_config
        batch, length, width = shape
        buffer = self._input_buffer(len(inputs), batch, width)
        buffer[:, :, length:] = 0
        for row, values in zip(buffer, inputs, strict=True):
            row[:, :length] = values
        self.request.infer()
        # Copies, since the next call overwrites the request's own arrays
        outputs = [self.request.get_output_tensor(index).data.copy() for index in range(len(self.columns))]
        for output, columns in zip(outputs, self.columns, strict=True):
            # With one thread OpenVINO 2026.4 may hide an error and return the outputs of the previous call
            if output.shape != (batch, columns or width):
                raise RuntimeError(f"OpenVINO returned outputs {output.shape} instead of {(batch, columns or width)}.")
        return outputs

    def _input_buffer(self, inputs: int, batch: int, width: int) -> np.ndarray:
        """The array `(inputs, batch, width)` that the next inference reads."""
        shape = batch, width
        if shape not in self.buffers:
            if sum(rows * slots for rows, slots in self.buffers) + batch * width > BUFFERED_TOKENS:
                self.buffers, self.shape = {}, None
            buffer = np.empty((inputs, *shape), dtype=np.int64)
            self.buffers[shape] = buffer, [openvino.Tensor(values, shared_memory=True) for values in buffer]
        buffer, tensors = self.buffers[shape]
        if shape != self.shape:
            for index, tensor in enumerate(tensors):
                self.request.set_input_tensor(index, tensor)
            self.shape = shape
        return buffer


class OVDynamicTinyBertForQuestionAnswering(LengthAdaptiveOVModel, OVModelForQuestionAnswering):
    """[`~optimum.intel.OVModelForQuestionAnswering`] with budgets, see [`DynamicTinyBertForQuestionAnswering`].

    Example:

    ```python
    >>> model = OVDynamicTinyBertForQuestionAnswering.from_pretrained("outputs/dynamic-minilm-squad", export=True)
    >>> model(**tokenizer(question, context, return_tensors="pt"), budget="half")
    ```
    """

    graph_outputs = GRAPH_OUTPUTS["ForQuestionAnswering"]

    @staticmethod
    def _head_output(arrays: list[np.ndarray], input_ids: torch.Tensor | np.ndarray) -> QuestionAnsweringModelOutput:
        """See [`LengthAdaptiveOVModel.forward`]."""
        length = np.shape(input_ids)[-1]
        start, end = [_like(_of_length(logits, length), input_ids) for logits in arrays]
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end)


class OVDynamicTinyBertForSequenceClassification(LengthAdaptiveOVModel, OVModelForSequenceClassification):
    """[`~optimum.intel.OVModelForSequenceClassification`] with budgets, see [`DynamicTinyBertForSequenceClassification`]."""

    graph_outputs = GRAPH_OUTPUTS["ForSequenceClassification"]

    @staticmethod
    def _head_output(arrays: list[np.ndarray], input_ids: torch.Tensor | np.ndarray) -> SequenceClassifierOutput:
        """See [`LengthAdaptiveOVModel.forward`]."""
        return SequenceClassifierOutput(logits=_like(arrays[0], input_ids))


MODEL_CLASSES = {
    "ForQuestionAnswering": OVDynamicTinyBertForQuestionAnswering,
    "ForSequenceClassification": OVDynamicTinyBertForSequenceClassification,
}


def model_class(head: str) -> type:
    """The OpenVINO class of a head.

    Args:
        head (`str`): end of the class name, for example `"ForQuestionAnswering"`.

    Raises:
        ValueError: there is no class for the head.
    """
    if head not in MODEL_CLASSES:
        raise ValueError(f"There is no OpenVINO class for the head {head}; valid are {', '.join(MODEL_CLASSES)}.")
    return MODEL_CLASSES[head]
