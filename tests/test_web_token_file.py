"""The first token: a file for its owner alone, created once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloudsched.errors import ConfigError
from cloudsched.web.token_file import read_token

TOKEN = "a-token-of-many-characters"


def test_token_is_created_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "admin.token"
    token = read_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    assert [each.name for each in path.parent.iterdir()] == ["admin.token"]


def test_token_created_at_once_by_many_is_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: read_token(tmp_path / "admin.token"), range(16)))
    assert len(tokens) == 1


@pytest.mark.parametrize(("content", "mode"), [(TOKEN, 0o644), ("", 0o600), ("short", 0o600), ("\u00e9" * 40, 0o600)])
def test_unusable_token_file_is_refused_without_showing_it(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "admin.token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_token(path)
    assert str(path) in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_token_in_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        read_token(tmp_path / "file" / "admin.token")
