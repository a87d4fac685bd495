# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The layer of a teacher that each layer of a student learns from. Plain Python."""

from collections.abc import Sequence


LAYER_MAPS = ("uniform", "last")


def layer_map(how: str | Sequence[int], student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher's layer for each layer of the student, both counted from 1 (0 are the embeddings, in both).

    Args:
        how (`str` or `list[int]`): `"uniform"`, every k-th (TinyBERT, arXiv 1909.10351, section 3.1: g(m) = k m);
            `"last"`, the last ones in a row; or the list itself.
        student_layers, teacher_layers (`int`): depths.

    Returns:
        `list[int]`: for each layer of the student, the number of a layer of the teacher.

    Raises:
        ValueError: the name is unknown, the depths do not divide for `"uniform"`, the teacher has fewer layers, or the list
            has another length, decreases, or names layers that the teacher does not have.
    """
    if isinstance(how, str):
        return _named(how, student_layers, teacher_layers)
    layers = list(how)
    if len(layers) != student_layers:
        raise ValueError(f"the layer map {layers} has {len(layers)} layers; the student has {student_layers}.")
    if sorted(layers) != layers or not all(1 <= layer <= teacher_layers for layer in layers):
        raise ValueError(f"the layer map is {layers}; valid are increasing layers of the teacher, 1 to {teacher_layers}.")
    return layers


def _named(how: str, student_layers: int, teacher_layers: int) -> list[int]:
    if how not in LAYER_MAPS:
        raise ValueError(
            f"the layer map is {how!r}; valid are {', '.join(map(repr, LAYER_MAPS))}, and lists such as [2, 4]."
        )
    if student_layers > teacher_layers:
        raise ValueError(
            f"the student has {student_layers} layers, the teacher {teacher_layers}; give the layer map as a list, which "
            "may name a layer twice."
        )
    if how == "last":
        return list(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    step, rest = divmod(teacher_layers, student_layers)
    if rest:
        raise ValueError(
            f"{teacher_layers} layers of the teacher are no multiple of the student's {student_layers}; use 'last', or a "
            f"list of {student_layers} layers."
        )
    return [step * layer for layer in range(1, student_layers + 1)]
