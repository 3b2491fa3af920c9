"""The documentation against the code: options, links, commands, URLs, tables."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from contract import routes

from cloudsched import admin, info
from cloudsched.config import OPTIONS, Config, Global
from cloudsched.config.cloud_kinds import CLOUD_OPTIONS
from cloudsched.config.kinds import written
from cloudsched.store import Store, tables
from cloudsched.web.app import WSGIApp
from cloudsched.web.errors import HTTP_CODES, STATUSES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
COMMANDS = ("cloud_scheduler", "cloud_admin", "cloud_status", "cloud_job", "admin_server", "info_server")
FIELDS = {
    "{cloud}": "CLOUD",
    "{vm}": "VM",
    "{job}": "JOB",
    "{user}": "USER",
    "{operation}": "ID",
    "{token}": "ID",
    "{entry}": "ENTRY",
}


def option_rows() -> list[str]:
    """The rows of the option table in migration.md."""
    return [
        f"| `{each.section}` | `{each.name}` | {_cell(written(each.kind, each.default))} | {each.fate} | {each.why} |"
        for each in OPTIONS.values()
    ]


def _cell(text: str) -> str:
    return f"`{text}`" if text else ""


def test_migration_names_every_option_with_its_fate() -> None:
    lines = (DOCS / "migration.md").read_text("utf-8").splitlines()
    found = [line for line in lines if re.match(r"\| `(global|job|logging)` \|", line)]
    assert found == option_rows()


def test_migration_names_every_cloud_option() -> None:
    _, _, part = (DOCS / "migration.md").read_text("utf-8").partition("## The options of cloud_resources.conf")
    named = {name for row in part.splitlines() if row.startswith("| `") for name in _coded(row.split("|")[1])}
    assert named == set(CLOUD_OPTIONS)


def test_migration_names_every_defect_of_v1() -> None:
    text = (DOCS / "migration.md").read_text("utf-8")
    assert set(re.findall(r"^\| (B-\d\d) \|", text, re.MULTILINE)) == {f"B-{number:02}" for number in range(1, 47)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    pages = [page for page in PAGES if page.parent == DOCS]
    assert [page.name for page in pages if f"(docs/{page.name})" not in readme] == []


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    texts = [page.read_text("utf-8") for page in PAGES]
    named = {each for text in texts for each in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)}
    assert {"run", "test"} <= named <= set(targets)


def _shown() -> Iterator[tuple[str, str, str]]:
    """Every command of ours in a code block or span: the page, the command's name, its arguments."""
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        code = [line for block in blocks for line in block.splitlines()]
        code += re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in code:
            found = re.match(r"(?:\$ )?(\.venv/bin/)?(\w+)( [^#>|]*)?(?:[#>|].*)?$", line)
            if found and (found[1] or found[2] in COMMANDS):
                yield page.name, found[2], (found[3] or "").strip()


SHOWN = sorted(set(_shown()))


@cache
def _help(command: str, *verbs: str) -> str:
    finished = subprocess.run(
        [Path(sys.executable).parent / command, *verbs, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return finished.stdout


def test_pages_show_commands() -> None:
    assert {command for _, command, _ in SHOWN} == set(COMMANDS)


@pytest.mark.parametrize(("page", "command", "arguments"), SHOWN)
def test_commands_and_options_exist(page: str, command: str, arguments: str) -> None:
    words = arguments.split()
    assert command in COMMANDS
    text = _help(command)
    while words:
        word = words.pop(0)
        if word in _verbs(text):
            text += _help(command, *_path_to(command, word), word)
        elif word.startswith("-") and word != "-":
            assert re.search(rf"(?<![\w-]){re.escape(word.partition('=')[0])}(?![\w-])", text), (page, word)


def _verbs(text: str) -> set[str]:
    """What a help text lists as commands."""
    return set(re.findall(r"^    (\w+)\s", text, re.MULTILINE))


def _path_to(command: str, verb: str) -> tuple[str, ...]:
    of = {"dump": "state", "load": "state", "upgrade": "state", "verify": "journal"}
    return (of[verb],) if command == "cloud_scheduler" and verb in of else ()


@pytest.fixture
def apps(tmp_path: Path) -> Iterator[dict[str, WSGIApp]]:
    store = Store.open(f"sqlite:///{tmp_path / 'state.db'}", tmp_path)
    config = Config(Global(state_dir=tmp_path))
    yield {"Admin daemon": admin.create_app(store, config), "Info daemon": info.create_app(store, config)}
    store.close()


@pytest.mark.parametrize("title", ["Admin daemon", "Info daemon"])
def test_api_lists_exactly_the_routes(apps: dict[str, WSGIApp], title: str) -> None:
    _, _, part = (DOCS / "api.md").read_text("utf-8").partition(f"\n## {title}\n")
    part, _, _ = part.partition("\n## ")
    rows = [row.split("|")[1] for row in part.splitlines() if row.startswith("|")]
    listed = [request for row in rows for request in re.findall(r"`([A-Z]+ /[^`]*)`", row)]
    assert sorted(listed) == sorted(_routes(apps[title]))


def _routes(app: WSGIApp) -> Iterator[str]:
    for method, path in routes(app):
        for field, name in FIELDS.items():
            path = path.replace(field, name)
        yield f"{method.upper()} {path}"


def test_api_names_every_error_code() -> None:
    named = set(_coded((DOCS / "api.md").read_text("utf-8")))
    codes = {code for _, code in STATUSES.values()} | set(HTTP_CODES.values())
    unseen = {"internal-error", "bad-document", "cloud-error", "batch-error", "bad-request"}
    assert codes - unseen - named == set()


def test_architecture_names_the_owner_of_every_table() -> None:
    _, _, part = (DOCS / "architecture.md").read_text("utf-8").partition("## Who writes which table")
    rows = [row.split("|")[2] for row in part.splitlines() if row.startswith("|")]
    named = [name for row in rows for name in _coded(row)]
    assert sorted(named) == sorted(tables.metadata.tables)


def _coded(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)
