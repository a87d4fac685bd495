import pytest

from hf_dynbert.utils.errors import InputError
from hf_dynbert.utils.recipe_files import read_recipe


def test_values_stay_as_they_are_written(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "importance: no\ntime: 1:30\nrate: 1e-3\nflag: true\nempty:\nnothing: null\nquoted: 'null'\noctal: 010\n"
        "files: [a.json, no, 3]\nbudgets: {half: [0.8, .5], no: [3, 2], text: '7', on: true}\n"
    )
    assert read_recipe(path) == {
        "importance": "no",
        "time": "1:30",
        "rate": "1e-3",
        "flag": "true",
        "quoted": "null",
        "octal": "010",
        "files": ["a.json", "no", "3"],
        "budgets": '{"half": [0.8, 0.5], "no": [3, 2], "text": "7", "on": true}',
    }


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "line 2: key 'seed' appears twice"),
        ("budgets: {half: [0.5], half: [0.6]}", "key 'half' appears twice"),
        (BOMB, "is an alias"),
        ("seed: &x 1\nsteps: *x\n", "is an alias"),
        ("- a list", "is not a recipe"),
        ("text", "is not a recipe"),
        ("", "is not a recipe"),
        ("a: [1, [2]]", "list or a mapping in its list"),
        ("a: []", "an empty list"),
        ("[1]: 2", "a key must be a name"),
        ("a: [1", "cannot be read|recipe.yaml"),
        ("a: " + "[" * 2000, "recipe.yaml"),
        ("a: {b: " * 3000, "recipe.yaml"),
        (b"\xff\xfe\x00bad", "recipe.yaml"),
        ("a: 1\n---\nb: 2\n", "recipe.yaml"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_name(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as raised:
        read_recipe(path)
    assert "recipe.yaml" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_missing_recipe(tmp_path, name):
    with pytest.raises(InputError, match="There is no recipe"):
        read_recipe(tmp_path / name)
