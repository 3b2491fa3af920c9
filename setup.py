"""Package metadata; tool settings are in pyproject.toml."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "cloudsched" / "__init__.py").read_text("utf-8"))[1]  # type: ignore[index]
RUNTIME = ["falcon>=4.0", "waitress>=3.0", "requests>=2.31", "sqlalchemy>=2.1", "prometheus-client>=0.20"]


class BuildWhole(build_py):
    """Makes what a build has beside its modules: the contract's JSON; but for a checkout's own, manuals and samples."""

    def run(self) -> None:
        runpy.run_path(str(HERE / "contrib" / "contract.py"), run_name="__main__")
        super().run()
        if not self.editable_mode:
            self.distribution.data_files = [*self._manuals(), *_samples()]

    def _manuals(self) -> list[tuple[str, list[str]]]:
        """Man pages and completions, made by the modules that have just been built."""
        made = Path(self.build_lib).parent / "manuals"
        shutil.rmtree(made, ignore_errors=True)
        command = [sys.executable, str(HERE / "contrib" / "manuals.py"), str(made)]
        # What isolates a build may be in PYTHONPATH itself.
        path = os.pathsep.join(filter(None, (self.build_lib, os.environ.get("PYTHONPATH"))))
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
        return [(str(path.relative_to(made)), _files(path)) for path in sorted(made.glob("share/**/")) if _files(path)]


def _samples() -> list[tuple[str, list[str]]]:
    """Units, plugins, rules, examples: what contrib/ has in directories."""
    found = sorted(path for path in Path("contrib").iterdir() if path.is_dir() and path.name != "__pycache__")
    return [(f"share/cloudsched/{path.name}", _files(path)) for path in found]


def _files(directory: Path) -> list[str]:
    return [str(path) for path in sorted(directory.iterdir()) if path.is_file()]


setup(
    name="cloudsched",
    version=VERSION,
    description="Boots cloud VMs for queued batch jobs and retires them: scheduler, admin and info daemons, clients",
    long_description=(HERE / "README.md").read_text("utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["cloudsched", "cloudsched.*"]), "cloudsched.clients"],
    package_dir={"cloudsched.clients": "clients"},
    py_modules=["admin_server", "info_server"],
    package_data={
        "cloudsched": ["py.typed", "info/status.css", "info/status.js"],
        "cloudsched.openapi": ["*.yaml", "*.json", "start.js"],
    },
    cmdclass={"build_py": BuildWhole},
    install_requires=RUNTIME,
    extras_require={
        "htcondor": ["htcondor>=25", "pyyaml>=6"],
        "migrate": ["alembic>=1.14"],
        "openstack": ["openstacksdk>=4.0"],
        "ec2": ["boto3>=1.35"],
        "postgresql": ["psycopg[binary]>=3.1"],
        "docs": ["mkdocs-swagger-ui-tag>=0.8"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "webtest>=3.0.4",
            "hypothesis>=6.100",
            "psycopg[binary]>=3.1",
            "alembic>=1.14",
            "htcondor>=25",
            "openstacksdk>=4.0",
            "pyyaml>=6",
            "boto3>=1.35",
            "moto[ec2,server]>=5.1",
            "mkdocs-swagger-ui-tag>=0.8",
            "jsonschema>=4.20",
            "openapi-spec-validator>=0.9",
            "schemathesis>=4.32",
            "openapi-python-client>=0.29",
        ],
        "check": ["ruff==0.17.6", "mypy==2.4.1", "types-requests>=2.31"],
    },
    entry_points={
        "console_scripts": [
            "cloud_scheduler = cloudsched.__main__:main",
            "cloud_admin = cloudsched.clients.cloud_admin:main",
            "cloud_status = cloudsched.clients.cloud_status:main",
            "cloud_job = cloudsched.clients.cloud_job:main",
            "admin_server = admin_server:main",
            "info_server = info_server:main",
        ]
    },
)
