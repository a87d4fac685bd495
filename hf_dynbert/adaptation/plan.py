# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Sizes of an adaptation that fits into a time limit. Plain Python."""

from dataclasses import dataclass

from ..utils.errors import InputError


BATCH = 16  # inputs of a training step
MOST_PASSES = 3  # over the texts: further passes over few texts learn these texts by heart
LEAST_STEPS = 50  # so many steps at least, or one pass over fewer texts: scorers start untrained
LATENCY_SAMPLES = 3  # inputs that the search times
CALIBRATION, ACCURACY = 200, 60  # inputs of the int8 calibration, and rows that compare int8 with floats
MOST_VALIDATION = 0.3  # largest share of the texts that is held out
SEARCH_SHARE = 0.3  # of the time limit, for the search
MOST_SEARCHED = 300  # inputs that score a configuration: more change a mean by less than its standard error
LEAST_SEARCHED = 30
# Inputs that confirm a configuration, and inputs of the training split for a named budget: multiples of those that score it
CONFIRM, TRAINING = 2, 4
TRIED = 8  # configurations that are measured on the training split before three of them get names
# Rough costs as multiples of a forward pass at full length in fp32, with VNNI; they decide sizes, not results
INT8 = 0.4  # of int8, in batches
SMALLER = 0.65  # of a configuration of the search, a mean over the grid, with its selection of tokens
CALIBRATED = 6.0  # of one input of the calibration
CALL = 0.002  # seconds that a call takes in addition, whatever the size of the model
TIMED_CALLS = 78  # calls of each configuration and each timed input, in the search and at its end
# Costs as multiples of a forward and backward pass at full length
TRAINED = {"spans": 1.7, "classes": 2.0}  # full length and one smaller pass; classes also need the saliency of tokens
STARTING, EXPORTING = 15.0, 45.0  # seconds for imports, saving and loading; and to export and quantize the graph


@dataclass(frozen=True)
class Speed:
    """Measured seconds.

    Args:
        forward (`float`): seconds of a forward pass for one input, in batches.
        backward (`float`): seconds of a forward and a backward pass for one input, in batches.
    """

    forward: float
    backward: float


@dataclass(frozen=True)
class Plan:
    """Sizes and estimated times of an adaptation.

    Args:
        rows (`int`): texts, questions or queries that are used.
        validation_rows (`int`): how many of them are held out.
        steps (`int`): training steps.
        search_samples, training_samples (`int`): see [`SearchArguments`].
        minutes (`dict[str, float]`): estimated minutes of each stage.
    """

    rows: int
    validation_rows: int
    steps: int
    search_samples: int
    training_samples: int
    minutes: dict[str, float]


def make_plan(
    max_minutes: float,
    num_evaluations: int,
    rows: int,
    inputs_per_row: float,
    speed: Speed,
    kind: str,
    call_size: int = 1,
) -> Plan:
    """Fits the sizes of all stages into a time limit.

    Args:
        max_minutes (`float`): the limit.
        num_evaluations (`int`): budgets that the search measures.
        rows (`int`): texts, questions or queries that there are.
        inputs_per_row (`float`): inputs of the model for each of them, in the mean.
        speed ([`Speed`]): measured speed of the model.
        kind (`str`): `spans` or `classes`, the outputs of the model.
        call_size (`int`, *optional*, defaults to 1): inputs of a call that the search times.

    Raises:
        InputError: the limit is too short.
    """
    limit, step = 60 * max_minutes, BATCH * (speed.forward + TRAINED[kind] * speed.backward)
    int8 = EXPORTING + speed.forward * (CALIBRATED * CALIBRATION + 3 * ACCURACY * inputs_per_row)
    call = speed.forward * INT8 * SMALLER
    timing = num_evaluations * LATENCY_SAMPLES * TIMED_CALLS * (call_size * call + CALL)
    by_searched = (num_evaluations * (1 + CONFIRM) + TRIED * TRAINING) * call  # seconds for each input that scores
    searched = min(max((SEARCH_SHARE * limit - timing) / by_searched, LEAST_SEARCHED), MOST_SEARCHED)
    search_samples = max(1, round(min(searched / inputs_per_row, MOST_VALIDATION * rows / (1 + CONFIRM))))
    validation_rows = search_samples * (1 + CONFIRM)
    search = timing + by_searched * search_samples * inputs_per_row
    fixed = STARTING + int8 + search + validation_rows * inputs_per_row * speed.forward
    training_inputs = (rows - validation_rows) * inputs_per_row
    by_input = speed.forward + step / BATCH  # seconds to answer an input, and to train on it once
    least_inputs = min(LEAST_STEPS * BATCH, training_inputs)
    if fixed + least_inputs * by_input > limit:
        needed = (fixed + least_inputs * by_input) / 60
        raise InputError(
            f"max_minutes is {max_minutes:g}; on this machine the shortest run takes about {needed:.1f} minutes. Give "
            f"--max_minutes {int(needed) + 1} or more, or a smaller --max_length or --num_evaluations."
        )
    if training_inputs * by_input <= limit - fixed:
        passes = min(MOST_PASSES, (limit - fixed - training_inputs * speed.forward) * BATCH / (training_inputs * step))
        steps = max(1, round(passes * training_inputs / BATCH))
    else:
        training_inputs = (limit - fixed) / by_input
        steps = int(training_inputs / BATCH)
    used = min(rows, validation_rows + round(training_inputs / inputs_per_row))
    minutes = {
        "answers": (STARTING + used * inputs_per_row * speed.forward) / 60,
        "training": steps * step / 60,
        "int8": int8 / 60,
        "search": search / 60,
    }
    training_samples = min(used - validation_rows, TRAINING * search_samples)
    return Plan(used, validation_rows, steps, search_samples, training_samples, minutes)
