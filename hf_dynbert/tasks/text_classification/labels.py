# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Labels of texts: one class, a set of classes, or a real number, as numbers in the order of a model's outputs.

Numbered data have a column `label` of the type `ClassLabel`, `List(ClassLabel)` (a set of classes) or `float`.
"""

import math
from collections.abc import Iterable, Sequence

from datasets import ClassLabel, Dataset, List, Value


LABEL = "label"
MOST_CLASSES = 100_000  # a larger label is no number of a class, but for example a time


def check_labels(data: Dataset, source: str = "The data") -> None:
    """Refuses data without a column of labels, and rows without a label."""
    if LABEL not in data.column_names:
        raise ValueError(
            f"{source} has no column {LABEL}; it has {', '.join(data.column_names)}. Name the column with label_column."
        )
    try:
        _check_present(data[LABEL][:])
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _check_present(labels: Sequence) -> None:
    missing = [row for row, label in enumerate(labels) if label is None or label != label or label == ""]
    if missing:
        raise ValueError(f"row {missing[0]} has no label ({len(missing)} of {len(labels)} rows); take such rows out.")


def problem_type_of(config) -> str:
    """The problem type of a classifier, by default the one that transformers infers from `num_labels`."""
    return config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")


def label_numbers(values: Sequence, feature, config) -> list:
    """Labels as numbers, in the order of a model's outputs."""
    _check_present(values)
    names, sets = feature_names(feature), isinstance(feature, List)
    named = names is not None and not generic_names(names) and not generic_names(config.id2label.values())
    numbers, kind = [], problem_type_of(config)
    for row, value in enumerate(values):
        if named and sets:
            value = [names[number] for number in value]
        try:
            if kind == "regression":
                numbers.append(_real_number(value))
            elif kind == "multi_label_classification":
                numbers.append(_label_set(value, config))
            else:
                numbers.append(_class_number(names[value] if named and isinstance(value, int) else value, config))
        except ValueError as error:
            raise ValueError(f"Row {row}: {error}") from None
    return numbers


def _real_number(value) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"the model predicts a real number, but the label is {value!r:.60}.")
    return float(value)


def _class_number(value, config) -> int:
    """The number of a class that is given by name or number."""
    if isinstance(value, str):
        by_name = {str(name).lower(): number for number, name in config.id2label.items()}
        if value.lower() in by_name:
            return by_name[value.lower()]
    elif isinstance(value, (int, float)) and 0 <= value < config.num_labels and value == int(value):
        return int(value)
    raise ValueError(
        f"the label {value!r:.60} is none of the model's classes: {', '.join(map(str, config.id2label.values()))}, "
        f"or 0 to {config.num_labels - 1}."
    )


def _label_set(value, config) -> list[int]:
    """Zeros and ones of a list of names, or of a list of zeros and ones; a model with one class takes 0 or 1 alone too."""
    if config.num_labels == 1 and isinstance(value, (int, float)) and value in (0, 1):
        return [int(value)]
    if isinstance(value, list) and len(value) == config.num_labels and all(item in (0, 1) for item in value):
        return [int(item) for item in value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        chosen = {_class_number(item, config) for item in value}
        return [int(number in chosen) for number in range(config.num_labels)]
    raise ValueError(
        f"the label {value!r:.60} fits no model with several labels of each text; valid are a list of names, and a list of "
        f"{config.num_labels} zeros and ones."
    )


def number_labels(data: Dataset, names: Sequence[str] | None = None, problem_type: str | None = None) -> Dataset:
    """Numbers the labels of data to train on.

    Args:
        data (`datasets.Dataset`): rows with a column `label`: names or numbers of classes, lists of names, lists with 0 or 1
            for each class, or real numbers.
        names (`list[str]`, *optional*): names of the classes in their order; by default those of the data.
        problem_type (`str`, *optional*): `"regression"` makes whole numbers targets of a regression and not classes.

    Raises:
        ValueError: a row without a label, a value that is none of `names`, or labels of several kinds.
    """
    check_labels(data)
    values, kind = data[LABEL][:], data.features[LABEL]
    if any(value == -1 for value in values) and isinstance(kind, ClassLabel):
        raise ValueError("There are rows with the label -1; take them out, or take a split that has labels.")
    found = feature_names(kind)
    if problem_type == "regression" and (found is not None or not isinstance(values[0], (int, float))):
        raise ValueError("problem_type is 'regression', but the labels are classes and no numbers. Leave it out.")
    if found is not None:
        if names and list(names) != found:
            raise ValueError(f"class_names is {', '.join(names)}, but the data names them {', '.join(found)}.")
        return data
    if len({*map(type, values)}) > 1 or not isinstance(values[0], (int, float, str, list)):
        types = sorted({type(value).__name__ for value in values})
        raise ValueError(
            f"Labels are of the types {', '.join(types)}; valid are names, numbers, truth values or lists, all of one type."
        )
    if isinstance(values[0], list):
        return _number_sets(data, values, names)
    if isinstance(values[0], str):
        names = list(names or sorted(set(values)))
        return _with_labels(data, _numbers(values, names), ClassLabel(names=names))
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise ValueError("There are labels that are not finite numbers; take such rows out.")
    if problem_type == "regression" or isinstance(values[0], float):
        return data.cast_column(LABEL, Value("float64"))
    names = list(names or [f"LABEL_{number}" for number in range(min(max(values) + 1, MOST_CLASSES))])
    if min(values) < 0 or max(values) >= len(names):
        raise ValueError(
            f"Labels are {min(values)} to {max(values)}; valid are 0 to {max(len(names), 2) - 1}, one for each class."
        )
    return data.cast_column(LABEL, Value("int64")).cast_column(LABEL, ClassLabel(names=names))


def _number_sets(data: Dataset, values: list[list], names: Sequence[str] | None) -> Dataset:
    """Sets of classes, given as lists of names or as lists with 0 or 1 for each class."""
    items = [item for value in values for item in value]
    if items and all(isinstance(item, str) for item in items):
        names = list(names or sorted(set(items)))
        sets = [_numbers(value, names) for value in values]
    elif items and all(item in (0, 1) for item in items) and len({len(value) for value in values}) == 1:
        names = list(names or [f"LABEL_{number}" for number in range(len(values[0]))])
        if len(names) != len(values[0]):
            raise ValueError(f"class_names has {len(names)} names, but each label has {len(values[0])} zeros and ones.")
        sets = [[number for number, item in enumerate(value) if item] for value in values]
    else:
        raise ValueError(
            f"A label is {values[0]!r:.60}; valid labels of several classes are lists of names, and lists with 0 or 1 for "
            "each class, equally long in all rows."
        )
    return _with_labels(data, sets, List(ClassLabel(names=names)))


def _numbers(values: Sequence[str], names: Sequence[str]) -> list[int]:
    """Numbers of names; upper and lower case are alike where no other name has the same letters."""
    exact = {name: number for number, name in enumerate(names)}
    similar = {name.lower(): number for number, name in enumerate(names)}
    found = [exact.get(value, similar.get(value.lower())) for value in values]
    if None in found:
        unknown = sorted({value for value, number in zip(values, found, strict=True) if number is None})
        raise ValueError(f"The data has the labels {', '.join(unknown)}; valid are {', '.join(names)}.")
    return found


def _with_labels(data: Dataset, labels: list, feature) -> Dataset:
    return data.remove_columns(LABEL).add_column(LABEL, labels, feature=feature)


def feature_names(feature) -> list[str] | None:
    """Names of the classes of a column, in the order of their numbers; `None` for other columns."""
    item = feature.feature if isinstance(feature, List) else feature
    return item.names if isinstance(item, ClassLabel) else None


def set_size(data) -> int | None:
    """Number of classes where each row has a set of them; `None` for other labels."""
    feature = (data.features or {}).get(LABEL)
    names = feature_names(feature)
    return len(names) if isinstance(feature, List) and names else None


def renumber_labels(data: Dataset, names: Sequence[str]) -> Dataset:
    """The same classes, numbered in the order of `names`, which may have further classes.

    Raises:
        ValueError: a class that `names` does not have.
    """
    own, sets = feature_names(data.features[LABEL]), set_size(data) is not None
    numbers, values = _numbers(own, names), data[LABEL][:]
    labels = [[numbers[item] for item in value] if sets else numbers[value] for value in values]
    feature = ClassLabel(names=list(names))
    return _with_labels(data, labels, List(feature) if sets else feature)


def generic_names(names: Iterable[str]) -> bool:
    """Whether labels have the names that transformers gives to labels without names."""
    return all(name == f"LABEL_{number}" for number, name in enumerate(names))
