"""The configuration files of the services, as the tests run them: one of each, on loopback, in a scratch directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "labpass"
USER, USER_PASSWORD, PROJECT = "operator", "operatorpass", "site"
REGION = "RegionOne"
ZONE = "lab"
PAGE = 20
"""The most servers that Nova lists at once."""
DATABASES = ("keystone", "placement", "glance", "nova_api", "nova", "nova_cell0")


@dataclass(frozen=True)
class Site:
    """Where everything is: `ports` by service name."""

    directory: Path
    venv: Path
    ports: Mapping[str, int]

    @property
    def auth_url(self) -> str:
        """Keystone's address."""
        return f"http://127.0.0.1:{self.ports['keystone']}/v3"

    @property
    def transport(self) -> str:
        """The message queue's address."""
        return f"rabbit://guest:guest@127.0.0.1:{self.ports['rabbit']}/"

    def database(self, name: str) -> str:
        """A database's address."""
        return f"mysql+pymysql://lab:lab@127.0.0.1:{self.ports['mariadb']}/{name}?charset=utf8mb3"

    def environment(self) -> dict[str, str]:
        """What the services look at beside their files."""
        etc, queue = self.directory / "etc", self.directory / "mq"
        return {
            "HOME": str(queue),
            "PYTHONWARNINGS": "ignore",
            "OS_KEYSTONE_CONFIG_DIR": str(etc),
            "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
            "OS_PLACEMENT_CONFIG_DIR": str(etc),
            "OS_GLANCE_CONFIG_DIR": str(etc / "glance"),
            "OS_NOVA_CONFIG_DIR": str(etc),
            "OS_NOVA_CONFIG_FILES": "api-paste.ini;nova.conf",
            "OS_NOVA_DISABLE_EVENTLET_PATCHING": "true",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.ports["rabbit"]),
            "RABBITMQ_DIST_PORT": str(self.ports["rabbit-nodes"]),
            "RABBITMQ_NODENAME": f"lab{self.ports['rabbit']}@localhost",
            "RABBITMQ_MNESIA_BASE": str(queue / "mnesia"),
            "RABBITMQ_LOG_BASE": str(queue / "log"),
            "RABBITMQ_CONFIG_FILE": str(queue / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(queue / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(queue / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 2:2",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
        }


def write(site: Site) -> None:
    """Write every file the services read."""
    etc = site.directory / "etc"
    for name in ("etc/glance", "images", "state", "mq/log", "mq/mnesia", "log", "my", "keys/fernet", "keys/credential"):
        (site.directory / name).mkdir(parents=True, exist_ok=True)
    for name in ("fernet", "credential"):
        (site.directory / "keys" / name).chmod(0o700)
    nova = _nova(site)
    files = {
        "keystone.conf": _keystone(site),
        "placement.conf": _placement(site),
        "glance/glance-api.conf": _glance(site),
        "nova.conf": nova,
        # A compute node must not know the databases.
        "nova-compute.conf": {name: each for name, each in nova.items() if name not in ("database", "api_database")},
    }
    for name, sections in files.items():
        (etc / name).write_text(_ini(sections))
    pastes = {"glance-api-paste.ini": "glance", "api-paste.ini": "nova"}
    for name, service in pastes.items():
        target = etc / ("glance" if service == "glance" else "") / name
        target.write_text((site.venv / "etc" / service / name).read_text())
    (site.directory / "mq" / "enabled_plugins").write_text("[].\n")
    (site.directory / "mq" / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{site.ports['rabbit']}\nloopback_users.guest = true\n"
        "vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 50MB\n"
    )


Sections = Mapping[str, Mapping[str, object]]


def _ini(sections: Sections) -> str:
    return "".join(
        f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items()) + "\n"
        for name, options in sections.items()
    )


def _login(site: Site) -> dict[str, object]:
    return {
        "auth_type": "password",
        "auth_url": site.auth_url,
        "username": "admin",
        "password": PASSWORD,
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": REGION,
    }


def _keystone(site: Site) -> Sections:
    return {
        "DEFAULT": {"log_file": site.directory / "log/keystone.log"},
        "database": {"connection": site.database("keystone")},
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": site.directory / "keys/fernet"},
        "credential": {"key_repository": site.directory / "keys/credential"},
        "cache": {"enabled": "false"},
    }


def _placement(site: Site) -> Sections:
    return {
        "DEFAULT": {"log_file": site.directory / "log/placement.log"},
        "placement_database": {"connection": site.database("placement")},
        "api": {"auth_strategy": "keystone"},
        "keystone_authtoken": _login(site),
    }


def _glance(site: Site) -> Sections:
    images = site.directory / "images"
    return {
        "DEFAULT": {
            "log_file": site.directory / "log/glance.log",
            "enabled_backends": "fs:file",
            "enforce_secure_rbac": "true",
            "workers": 1,
            "worker_self_reference_url": f"http://127.0.0.1:{site.ports['glance']}",
        },
        "glance_store": {"default_backend": "fs"},
        "fs": {"filesystem_store_datadir": images},
        "os_glance_staging_store": {"filesystem_store_datadir": images / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": images / "tasks"},
        "database": {"connection": site.database("glance")},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": site.directory / "etc/glance/glance-api-paste.ini",
        },
        "keystone_authtoken": _login(site),
    }


def _nova(site: Site) -> Sections:
    login = _login(site)
    return {
        "DEFAULT": {
            "log_dir": site.directory / "log",
            "state_path": site.directory / "state",
            "instances_path": site.directory / "state/instances",
            "my_ip": "127.0.0.1",
            "host": "compute1",
            "transport_url": site.transport,
            # Nova's own hypervisor for tests: servers go through every state and run nothing.
            "compute_driver": "fake.FakeDriverWithoutFakeNodes",
            "force_config_drive": "false",
            "rpc_response_timeout": 60,
        },
        "api_database": {"connection": site.database("nova_api")},
        "database": {"connection": site.database("nova")},
        "api": {"auth_strategy": "keystone", "max_limit": PAGE},
        # A token that was revoked must be refused soon, for the test of that.
        "keystone_authtoken": login | {"token_cache_time": 5},
        "placement": login,
        "glance": login | {"service_type": "image"},
        "neutron": login | {"http_retries": 0},
        "cinder": login,
        "service_user": login | {"send_service_user_token": "false"},
        "oslo_concurrency": {"lock_path": site.directory / "state/lock"},
        "scheduler": {"workers": 1},
        "conductor": {"workers": 1},
        "vnc": {"enabled": "false"},
        "spice": {"enabled": "false"},
        "oslo_messaging_rabbit": {"rabbit_quorum_queue": "false"},
        "quota": {"instances": 2000, "cores": 20000, "ram": 20000000},
    }
