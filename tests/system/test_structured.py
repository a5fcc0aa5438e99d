"""YAML and JSON: what is damaged or made to do harm is refused in one line that names the file."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from dpcenet.errors import ConfigError, RunError
from dpcenet.system.files import read_json, read_or_set_aside, read_yaml, set_aside
from dpcenet.system.structured import MAX_DEPTH, MAX_JSON, MAX_YAML, parse_json, yaml_value
from dpcenet.training.config import load_preset

LAUGHS = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9))


def refused(path: Path, content: bytes | str) -> str:
    """The one line in which a reader refuses a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        (read_yaml if path.suffix == ".yaml" else read_json)(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 500
    return text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS, "anchors and aliases"),
        ("a: *b", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "tags"),
        ("a: !!binary aGVsbG8=", "tags"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("a: {b: 1, b: 2}", "'b' is there twice"),
        ("? [1, 2]\n: 3", "a list stands where a key belongs"),
        ("? 1.5\n: 3", "1.5 stands where a key belongs"),
        ("- a\n- b", "a list where keys with values belong"),
        ("just text", "a text where keys with values belong"),
        ("a: .nan", "nan, which is no number"),
        ("a: 1e400\nb: .inf", "inf, which is no number"),
        ("a: [1,\n", "line 2"),
        ("a: \x07", "not YAML"),
        (b"a: \xff", "not YAML"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: " + "{b: " * 60, "nested too deeply"),
        ("a: 0b" + "_" * 9, "not YAML"),
        ("# " + "x" * MAX_YAML, f"more than {MAX_YAML:,} bytes"),
        ("a: 1\n---\nb: 2", "not YAML"),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, content: bytes | str, said: str) -> None:
    start = time.process_time()
    assert said in refused(tmp_path / "a.yaml", content)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ('{"a": 1', "not JSON"),
        ('{"a": 1, "a": 1}', "'a' is there twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is there twice"),
        ("[1]", "a list where keys with values belong"),
        ("null", "None where keys with values belong"),
        ('{"a": NaN}', "nan, which is no number"),
        ('{"a": [-Infinity]}', "-inf, which is no number"),
        ('{"a": 1e999}', "inf, which is no number"),
        ('{"a": ' + "9" * 6000 + "}", "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        ('{"a": ' + "[" * 200_000, "nested too deeply"),
        ('{"a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "nested too deeply"),
        (b" " * (MAX_JSON + 1), f"more than {MAX_JSON:,} bytes"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, content: bytes | str, said: str) -> None:
    assert said in refused(tmp_path / "a.json", content)


def test_plain_values_come_through(tmp_path: Path) -> None:
    text = "method: panet\nsteps: 10\nrate: 1.0e-3\non: [1, null, true]\n2: 2020-13-45\n<<: x\n"
    (tmp_path / "a.yaml").write_text(text)
    expected = {"method": "panet", "steps": 10, "rate": 1e-3, True: [1, None, True]}
    assert read_yaml(tmp_path / "a.yaml") == {**expected, 2: "2020-13-45", "<<": "x"}
    (tmp_path / "b.yaml").write_text("# nothing but a comment\n")
    assert read_yaml(tmp_path / "b.yaml") == {}
    assert parse_json('{"a": NaN}', "x", finite=False)["a"] != 0
    assert yaml_value("[1, a: 2]", "--set") == [1, {"a": 2}]


def test_a_key_that_is_missing_or_of_another_kind_is_named() -> None:
    with pytest.raises(RunError, match=r"^run\.json: lacks 'step'; train again$"):
        parse_json("{}", "run.json", {"step": int}, error=RunError, remedy="train again")
    with pytest.raises(ConfigError, match="'step' is a text and not a whole number"):
        parse_json('{"step": "1"}', "run.json", {"step": int})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for path in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(ConfigError, match="not a regular file"):
            read_json(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(tmp_path / "absent.json")


def test_what_can_be_made_again_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.json"
    assert read_or_set_aside(path) is None and not caplog.records
    for number in ("", "-2"):
        path.write_text('{"half": ')
        with caplog.at_level(logging.WARNING):
            assert read_or_set_aside(path) is None
        kept = tmp_path / f"a.json.damaged{number}"
        assert not path.exists() and kept.read_text() == '{"half": '
        (record,) = caplog.records
        assert str(path) in record.getMessage() and kept.name in record.getMessage()
        caplog.clear()
    path.write_text('{"whole": 1}')
    assert read_or_set_aside(path, {"whole": int}) == {"whole": 1} and path.exists()
    assert set_aside(path).name == "a.json.damaged-3"


def test_a_wrong_value_of_any_size_makes_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"method: panet\ntrain: {{steps: {['x' * 50] * 100}}}\n")
    with pytest.raises(ConfigError, match=r"train\.steps = ") as caught:
        load_preset(str(path))
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    path.write_text("method: [panet]\n")
    with pytest.raises(ConfigError, match="choose one of"):
        load_preset(str(path))


def test_the_mark_of_windows_editors_in_front_of_a_file_is_no_fault() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}\r\n', "a.json") == {"a": 1}
