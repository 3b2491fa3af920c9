"""User limits, cloud aliases and banned images."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudsched.config.limits import read_banned_images, read_cloud_aliases, read_user_limits
from cloudsched.errors import ConfigError


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_user_limits_are_read(tmp_path: Path) -> None:
    assert read_user_limits(file(tmp_path, '{"alice": 5, "bob@x.y": 0}')) == {"alice": 5, "bob@x.y": 0}


def test_aliases_keep_their_names_as_written(tmp_path: Path) -> None:
    assert read_cloud_aliases(file(tmp_path, '{"West": ["Mouse", "rat"], "none": []}')) == {
        "West": ("Mouse", "rat"),
        "none": (),
    }


def test_no_ban_file_yet_means_no_bans(tmp_path: Path) -> None:
    assert read_banned_images(tmp_path / "none") == {}
    assert read_banned_images(file(tmp_path, '{"image": ["mouse"]}')) == {"image": ("mouse",)}
    with pytest.raises(ConfigError, match="Is a directory"):
        read_banned_images(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 5,\n "b": }', ":2: This is not JSON (Expecting value, column 7); accepted is"),
        ("", ":1: This is not JSON"),
        ("[1]", ":1: This is not a JSON object; accepted is"),
        ('{"a": 5,\n "b": -1}', ':2: "b": -1 is wrong; accepted is'),
        ('{"a": true}', ':1: "a": true is wrong; accepted is'),
        ('{"a": 1.5}', ':1: "a": 1.5 is wrong; accepted is'),
        ('{"a": "5"}', ':1: "a": "5" is wrong; accepted is'),
        ('{\n"": 5}', ':2: "": 5 is wrong; accepted is'),
        ('{\n"\\ud800": 5}', ':2: "\\ud800": 5 is wrong; accepted is'),
        ("[" * 100_000, ":1: This JSON is too big to be read; accepted is"),
        ('{"a": ' + "9" * 5000 + "}", ":1: This JSON is too big to be read; accepted is"),
        ('{"a": 99999999999999999999}', ':1: "a": 99999999999999999999 is wrong'),
    ],
)
def test_wrong_limits_name_file_line_and_what_is_accepted(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_user_limits(file(tmp_path, text))
    assert f"{tmp_path}/x.json{complaint}" in str(caught.value)
    assert str(caught.value).endswith('accepted is {"USER": VMS, ...} with whole numbers, 0 or more.')


@pytest.mark.parametrize("text", ['{"a": "mouse"}', '{"a": [1]}', '{"a": [""]}', '{"a": {"b": 1}}', '{"a": null}'])
def test_wrong_aliases_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r'x\.json:1: "a": .* is wrong; accepted is {"ALIAS": \["CLOUD", \.\.\.\]'):
        read_cloud_aliases(file(tmp_path, text))


def test_unreadable_limits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_user_limits(tmp_path / "none")
    path = tmp_path / "latin"
    path.write_bytes(b'{\n"caf\xe9": 1}')
    with pytest.raises(ConfigError, match=":2: This is not UTF-8 text"):
        read_user_limits(path)
