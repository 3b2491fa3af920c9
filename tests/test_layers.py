"""The architecture, by machine: imports go down, each library has one home, files and functions stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cloudsched"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CLIENTS = sorted((ROOT / "clients").glob("*.py"))

RANKS = {
    "errors": 0,
    "model": 1,
    "config": 1,
    "openapi": 1,
    "policy": 2,
    "render": 2,
    "store": 2,
    "client": 2,
    "clouds": 2,
    "batch": 2,
    "cloudinit": 2,
    "web": 3,
    "engine": 3,
    "admin": 4,
    "info": 4,
    "__main__": 5,
}
OUTSIDE = {"__init__": 0, "processes": 1, "logs": 2}
"""Single modules that several layers share: the version, finding processes by /proc, where the logs go."""

HOMES = {
    "falcon": {"web"},
    "waitress": {"web"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "requests": {"client"},
    "prometheus_client": {"web"},
    "htcondor2": {"batch"},
    "classad2": {"batch"},
    "boto3": {"clouds"},
    "botocore": {"clouds"},
    "openstack": {"clouds"},
    "keystoneauth1": {"clouds"},
}
"""What each third-party library may be imported in; no other may be imported at all."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "manager", "base", "misc"}

ERRORS = {
    node.name for node in ast.walk(ast.parse((PACKAGE / "errors.py").read_text())) if isinstance(node, ast.ClassDef)
}
SUBCLASSED = {
    "cloudsched/store/columns.py": {"TypeDecorator"},
    "cloudsched/web/app.py": {"App"},
    "cloudsched/web/at_once.py": {"ThreadedTaskDispatcher", "TunedChannel"},
    "cloudsched/web/channel.py": {"HTTPChannel", "WSGITask", "ErrorTask", "ReadOnlyFileBasedBuffer", "_Joining"},
    "cloudsched/web/routing.py": {"CompiledRouter"},
    "cloudsched/web/exposition.py": {"Collector"},
    "cloudsched/logs.py": {"Formatter"},
}
"""Where a library asks for a subclass."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank(of: str) -> int:
    return {**RANKS, **OUTSIDE}[of]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module's full name, with its line; imports inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The clients are a package of their own and may import beside themselves.
            assert not node.level or path in CLIENTS, f"{name(path)}:{node.lineno}: a relative import"
            module = "." * node.level + (node.module or "")
            # `from cloudsched import x` names the layer in the alias.
            found = [f"cloudsched.{alias.name}" for alias in node.names] if module == "cloudsched" else [module]
            yield from ((each, node.lineno) for each in found)


def test_every_module_has_a_rank() -> None:
    assert {layer(path) for path in SOURCES} <= RANKS.keys() | OUTSIDE.keys()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_go_down(path: Path) -> None:
    own = layer(path)
    for module, line in imports(path):
        top, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if top != "cloudsched" or other in ("", own, "__version__"):
            continue
        sideways_below = rank(own) == rank(other) <= 1
        assert rank(other) < rank(own) or sideways_below, f"{name(path)}:{line}: {own} imports {other}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_libraries_stay_at_home(path: Path) -> None:
    for module, line in imports(path):
        top = module.partition(".")[0]
        if top != "cloudsched" and top not in sys.stdlib_module_names:
            homes = HOMES.get(top, set())
            assert layer(path) in homes, f"{name(path)}:{line}: {module} belongs into {homes or 'no layer'}"


@pytest.mark.parametrize("path", CLIENTS, ids=name)
def test_clients_use_only_the_client_and_the_configuration(path: Path) -> None:
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] in HOMES:
            pytest.fail(f"{name(path)}:{line}: a client imports {module}")
        if parts[0] == "cloudsched" and len(parts) > 1:
            assert parts[1] in ("client", "clients", "config", "errors", "__version__"), (
                f"{name(path)}:{line}: {module}"
            )


@pytest.mark.parametrize("path", [*SOURCES, *CLIENTS], ids=name)
def test_no_module_is_a_drawer(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", [*SOURCES, *CLIENTS], ids=name)
def test_files_are_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 420


@pytest.mark.parametrize("path", [*SOURCES, *CLIENTS], ids=name)
def test_functions_are_short_and_take_few_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        place = f"{name(path)}:{node.lineno}: {node.name}"
        assert (node.end_lineno or 0) - node.lineno + 1 <= 40, f"{place} is longer than 40 lines"
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = [each for each in given if each.arg not in ("self", "cls")]
        assert len(own) <= 5, f"{place} takes {len(own)} parameters"


@pytest.mark.parametrize("path", [*SOURCES, *CLIENTS], ids=name)
def test_only_errors_and_enums_inherit(path: Path) -> None:
    allowed = {"StrEnum", "IntEnum", "Protocol", "Generic", "Exception"} | ERRORS | SUBCLASSED.get(name(path), set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
            assert bases <= allowed, f"{name(path)}:{node.lineno}: {node.name} inherits from {bases - allowed}"


SDKS = ("boto3", "botocore", "openstack", "keystoneauth1", "htcondor2")
LOADED = f"""
import sys
from pathlib import Path
import admin_server, info_server, cloudsched.__main__, cloudsched.engine.scheduler
from cloudsched.config import Config, Global
from cloudsched.config.clouds import HostSize, read_clouds
from cloudsched.engine import adapters
path = Path(sys.argv[1])
sections, _ = read_clouds(path, Global(state_dir=path.parent), HostSize(1, 1, 1))
found, problems = adapters.clouds(sections, Config(global_=Global(state_dir=path.parent)), "inst")
print(sorted(found), problems, *sorted(set({SDKS}) & sys.modules.keys()))
"""
SECTIONS = {
    "local": "[a]\ncloud_type = local\n",
    "ec2": "[b]\ncloud_type = AmazonEC2\nhost = http://127.0.0.1:9\nregions = r\naccess_key_id = k\nmemory = 1\n"
    "secret_access_key = s\nsecurity_group = g\nvm_slots = 1\n",
    "openstack": "[c]\ncloud_type = OpenStackNative\nauth_url = http://127.0.0.1:9/v3\nregions = r\nusername = u\n"
    "password = p\ntenant_name = t\nvm_slots = 1\n",
}


@pytest.mark.parametrize(
    ("kinds", "loaded"),
    [
        (["local"], "['a'] {}"),
        (["local", "ec2"], "['a', 'b'] {} boto3 botocore"),
        (["openstack"], "['c'] {} keystoneauth1 openstack"),
    ],
)
def test_a_clouds_library_is_loaded_only_where_such_a_cloud_is_configured(
    tmp_path: Path, kinds: list[str], loaded: str
) -> None:
    (tmp_path / "clouds.conf").write_text("".join(SECTIONS[kind] for kind in kinds))
    command = [sys.executable, "-W", "ignore", "-c", LOADED, str(tmp_path / "clouds.conf")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, loaded), done.stderr
