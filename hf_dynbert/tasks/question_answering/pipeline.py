# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The task `"extractive-qa"`: the `question-answering` pipeline that transformers had until 5.2, with budgets."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict

from transformers.pipelines.base import ChunkPipeline

from ...utils.errors import is_utf8
from ..inference import run_batch
from ..pipelines import (
    LIMITS,
    Stream,
    budget_of_call,
    check_batching,
    check_count,
    check_flag,
    check_options,
    most_tokens,
    own_tokenizer,
    rows_of,
)
from .decoding import decode_answers
from .features import MAX_LENGTH, MAX_QUESTION_LENGTH, STRIDE, Window, encode_windows


USAGE = 'Call it as pipe(question="Who wrote it?", context="Ada wrote it."), or with lists of the same length.'
PREPROCESSING = ("doc_stride", "max_seq_len", "max_question_len", "align_to_words")
POSTPROCESSING = ("top_k", "max_answer_len", "handle_impossible_answer")
OPTIONS = ("budget", "length_config", *LIMITS, *PREPROCESSING, *POSTPROCESSING)


class ExtractiveQAPipeline(ChunkPipeline):
    """Answers questions with spans of a context, with any extractive question answering model.

    Threads can share a pipeline. Options may be given to `pipeline(...)`, as defaults, and to each call.

    Args:
        question (`str`, or several): the questions. Several are a list, a tuple, a column or an iterator.
        context (`str`, or several): the texts that contain the answers. Several questions may have one context.
        budget, length_config (*optional*): budget of a length-adaptive model, see [`DynamicTinyBertConfig`].
        max_latency_ms, max_macs, min_score, speedup, max_loss, tokens, nearest (*optional*): select a budget, see
            `model.choose_budget`.
        top_k (`int`, *optional*, defaults to 1): answers per question. More than one are returned as a list.
        doc_stride (`int`, *optional*): tokens that neighbouring windows share; 128, or half of the context's tokens in a
            smaller window.
        max_answer_len (`int`, *optional*, defaults to 15): largest number of tokens of an answer.
        max_seq_len (`int`, *optional*): tokens of a window; 384, or the model's longest input.
        max_question_len (`int`, *optional*): largest number of tokens of a question, whose end is cut; 64, or a
            quarter of a smaller window.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`): whether "no answer" is a candidate.
        align_to_words (`bool`, *optional*, defaults to `True`): whether answers begin and end with whole words.
        batch_size (`int`, *optional*, defaults to 1): windows of a call of the model.

    Instead of `question` and `context`, the first argument can be a dict or row with both, a `(question, context)` tuple, a
    list of these, a data frame, or a data set or generator of these, which is read item by item.

    Returns:
        `dict` with `score`, `start`, `end` and `answer` (`top_k` of them as a list if `top_k` is above 1). Several questions
        give a list of results. A data set or a generator gives an iterator.

    Raises:
        ValueError: inputs or options that are not valid, or a budget on a model without budgets.
        TypeError: an unknown option.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_dynbert

    >>> ask = pipeline("extractive-qa", model="outputs/dynamic-minilm")
    >>> ask(question="Who keeps the light?", context="Ada keeps the light.", length_config=[1.0, 0.6, 0.5, 0.4, 0.3, 0.3])
    ```
    """

    default_input_names = "question,context"
    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False

    def __init__(self, model, tokenizer=None, batch_size=None, num_workers=None, **kwargs):
        name = model.config.name_or_path or type(model).__name__
        if type(model).__name__.endswith("ForSequenceClassification"):
            raise ValueError(
                f'{name} is a text classifier; use pipeline("text-classification", model=...), or a model for question '
                "answering."
            )
        if tokenizer is None:
            raise ValueError('A pipeline needs a tokenizer: pipeline("extractive-qa", model=model, tokenizer=tokenizer).')
        check_batching(batch_size, num_workers)
        tokenizer = own_tokenizer(tokenizer, name)
        super().__init__(model=model, tokenizer=tokenizer, batch_size=batch_size, num_workers=num_workers, **kwargs)

    def _sanitize_parameters(self, **options):
        check_options(options, OPTIONS)
        options = {name: value for name, value in options.items() if value is not None}
        for name in ("top_k", "max_answer_len", "max_question_len"):
            check_count(name, options.get(name))
        check_count("doc_stride", options.get("doc_stride"), least=0)
        check_count("max_seq_len", options.get("max_seq_len"), most=most_tokens(self))
        for name in ("handle_impossible_answer", "align_to_words"):
            check_flag(name, options.get(name))
        limits = {name: options[name] for name in LIMITS if name in options}
        return (
            {name: options[name] for name in PREPROCESSING if name in options},
            budget_of_call(self.model, options.get("budget"), options.get("length_config"), limits),
            {name: options[name] for name in POSTPROCESSING if name in options},
        )

    def __call__(self, *args, question=None, context=None, batch_size=None, num_workers=None, **options):
        """Answers questions; see the class."""
        check_batching(batch_size, num_workers)
        check_options(options, (*OPTIONS, "question", "context"))
        inputs, several = read_inputs(args, question, context)
        if isinstance(inputs, list) and not inputs:
            self._sanitize_parameters(**options)  # checks the options
            return []
        answers = super().__call__(inputs, batch_size=batch_size, num_workers=num_workers, **options)
        return answers if several else answers[0]

    def preprocess(self, inputs, doc_stride=None, max_seq_len=None, max_question_len=None, align_to_words=True):
        """Yields the windows of one question."""
        if max_seq_len is None:
            max_seq_len = min(MAX_LENGTH, most_tokens(self))
        if max_question_len is None:
            max_question_len = min(MAX_QUESTION_LENGTH, max_seq_len // 4)
        if doc_stride is None:
            room = max_seq_len - max_question_len - self.tokenizer.num_special_tokens_to_add(pair=True)
            doc_stride = max(0, min(STRIDE, room // 2))
        windows = encode_windows(
            self.tokenizer,
            [inputs["question"]],
            [inputs["context"]],
            max_length=max_seq_len,
            stride=doc_stride,
            max_question_length=max_question_len,
            whole_words=align_to_words,
        )
        for index, window in enumerate(windows):
            yield {"is_last": index == len(windows) - 1, "window": window, "context": inputs["context"]}

    def _forward(self, inputs, **call):
        batched = isinstance(inputs["window"], list)
        windows = inputs["window"] if batched else [inputs["window"]]
        outputs = run_batch(self.model, self.tokenizer, [window.inputs for window in windows], **call)
        starts = [output["start_logits"] for output in outputs]
        ends = [output["end_logits"] for output in outputs]
        return {**inputs, "start": starts if batched else starts[0], "end": ends if batched else ends[0]}

    def postprocess(self, model_outputs, top_k=1, max_answer_len=15, handle_impossible_answer=False):
        """Turns the logits of a question's windows into answers."""
        windows: list[Window] = [output["window"] for output in model_outputs]
        answers = decode_answers(
            model_outputs[0]["context"],
            windows,
            [output["start"].reshape(-1) for output in model_outputs],
            [output["end"].reshape(-1) for output in model_outputs],
            top_k=top_k,
            max_answer_length=max_answer_len,
            handle_impossible_answer=handle_impossible_answer,
        )
        answers = [asdict(answer) for answer in answers]
        return answers[0] if top_k == 1 else answers


def read_inputs(args: tuple, question, context) -> tuple[list[dict] | Stream, bool]:
    """Reads the questions and contexts of a call, and whether there are several."""
    if args and (question is not None or context is not None):
        raise ValueError(f"Got questions or contexts both by position and by name; give them in one way. {USAGE}")
    if not args:
        return _by_name(question, context)
    if len(args) == 2 and not any(isinstance(value, Mapping) for value in args):
        return _by_name(*args)
    items = rows_of(args[0]) if len(args) == 1 else list(args)
    if _is_item(items):
        return [_read(items)], False
    if isinstance(items, (list, tuple)):
        return [_read(item, index) for index, item in enumerate(items)], True
    return Stream(_in_order(items), _read), True


def _by_name(question, context) -> tuple[list[dict] | Stream, bool]:
    if _is_single(question) and _is_single(context):
        return [_checked(question, context)], False
    if all(_is_single(values) or isinstance(values, Sized) for values in (question, context)):
        questions = [question] if _is_single(question) else list(_in_order(question))
        contexts = [context] if _is_single(context) else list(_in_order(context))
        if len(contexts) == 1:
            contexts = contexts * len(questions)
        elif len(questions) == 1:
            questions = questions * len(contexts)
        if len(questions) != len(contexts):
            raise ValueError(f"{len(questions)} questions do not fit {len(contexts)} contexts. {USAGE}")
        pairs = zip(questions, contexts, strict=True)
        return [_checked(*pair, index) for index, pair in enumerate(pairs)], True
    return Stream(_together(question, context), _read), True


def _together(question, context) -> Iterable[tuple]:
    """Pairs of two iterables, or of one with the same text each time."""
    if _is_single(question):
        for text in _in_order(context):
            yield question, text
    elif _is_single(context):
        for text in _in_order(question):
            yield text, context
    else:
        yield from zip(_in_order(question), _in_order(context), strict=True)


def _is_single(value) -> bool:
    """Whether a value is one question or context, not several."""
    several = isinstance(value, Iterable) or (hasattr(value, "__getitem__") and hasattr(value, "__len__"))
    return isinstance(value, (str, bytes, Mapping)) or not several


def _is_item(value) -> bool:
    """Whether a value is one question with its context: a pair of texts, a row of a data frame, or an object with both."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(text, str) for text in value):
        return True
    return _is_single(value) or hasattr(value, "get") or hasattr(value, "question")


def _in_order(values) -> Iterable:
    """The values one after another; a data set of torch may have indices only."""
    if isinstance(values, Iterable):
        return values
    return (values[index] for index in range(len(values)))


def _read(item, index: int | None = None) -> dict:
    """A question with its context from a dict, a row of a data frame, a tuple or an object with both attributes."""
    if isinstance(item, tuple) and len(item) == 2 and not hasattr(item, "question"):
        if hasattr(item[1], "get"):  # `DataFrame.iterrows` gives an index and a row
            return _read(item[1], index)
        return _checked(*item, index)
    if hasattr(item, "get"):
        return _checked(item.get("question"), item.get("context"), index)
    return _checked(getattr(item, "question", None), getattr(item, "context", None), index, item)


def _checked(question, context, index: int | None = None, item=None) -> dict:
    place = "" if index is None else f"Item {index}: "
    for name, value in (("question", question), ("context", context)):
        if not is_utf8(value) or not value.strip():
            got = f" (got {item!r})" if item is not None else ""
            raise ValueError(f"{place}The {name} is {value!r}{got}; it must be a text that is not empty. {USAGE}")
    return {"question": question, "context": context}
