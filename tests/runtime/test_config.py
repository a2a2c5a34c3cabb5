"""YAML errors name file, line and the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import ConfigStruct, load_yaml, parse_yaml
from runtime.errors import ConfigError
from runtime.recipe import Recipe


class Inner(ConfigStruct, frozen=True):
    """A nested table."""

    width: int = 1


class Outer(ConfigStruct, frozen=True):
    """A small config."""

    name: str
    inner: Inner | None = None
    sizes: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nane: a", "f.yaml:1: nane: unknown key; did you mean 'name'?"),
        ("name: a\ninner:\n  widht: 2", "f.yaml:3: widht: unknown key; did you mean 'width'?"),
        ("name: a\nzzz: 1", "f.yaml:2: zzz: unknown key"),
        ("name: a\nname: b", "f.yaml:2: name: repeated key"),
        ("name: a\ninner:\n  width: 1\n  width: 2", "f.yaml:4: width: repeated key"),
        ("name: 3", "f.yaml:1: name: expected `str`, got `int`"),
        ("name: a\nsizes: [1, x]", "f.yaml:2: sizes[1]: expected `int`, got `str`"),
        ("", "f.yaml:1: object missing required field `name`"),
        ("[1]", "f.yaml:1: expected `object`, got `array`"),
        ("name: [", "f.yaml:1: expected the node content, but found '<stream end>'"),
        ("name: a\n\tinner: 1", "f.yaml:2: found character '\\t' that cannot start any token"),
        ("name: &a x\ninner: *a", "f.yaml:2: *a: aliases are not read here"),
        ("name: &a [*a]", "f.yaml:1: *a: aliases are not read here"),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_hint(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, Outer, "f.yaml")
    assert str(caught.value) == message


def test_a_right_file_becomes_a_frozen_struct(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("name: a\ninner: {width: 4}\nsizes: [1, 2]")
    assert load_yaml(path, Outer) == Outer(name="a", inner=Inner(width=4), sizes=(1, 2))


def test_a_missing_or_binary_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file or directory; expected a YAML file"):
        load_yaml(tmp_path / "absent.yaml", Outer)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match=r"binary\.yaml: .*expected a YAML file"):
        load_yaml(tmp_path / "binary.yaml", Outer)


def test_a_number_in_exponent_form_is_a_number() -> None:
    assert parse_yaml("bundle: b\nthreshold: 2e-3", Recipe, "recipe.yaml").threshold == 2e-3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("threshold: .nan", "threshold is nan; expected a finite number > 0"),
        ("threshold: 0", "threshold is 0.0; expected a finite number > 0"),
        (
            "threshold: 1\nreview_threshold: 2",
            "review_threshold is 2.0; expected between 0 and threshold 1.0",
        ),
        ("threshold: 1\ndeadline_ms: -4", "deadline_ms is -4.0; expected a finite number > 0"),
        ("threshold: 1\nid: 'a b'", "id is 'a b'; expected 1 to 64 letters"),
        ("threshold: 1\nregion: {x: -1, y: 0, width: 4, height: 4}", "region needs x, y >= 0"),
        ("treshold: 1", "treshold: unknown key; did you mean 'threshold'?"),
    ],
)
def test_a_recipe_refuses_what_cannot_be_judged_with(line: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"bundle: b\n{line}", Recipe, "recipe.yaml")
    assert complaint in str(caught.value)
