"""What the VMs of a shape are given, gathered: the configured files and those that the job's owner names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloudsched import cloudinit
from cloudsched.cloudinit import Context, File, Part
from cloudsched.config.load import Config
from cloudsched.engine.sources import account, fetch, is_url, read_own
from cloudsched.errors import BadRequirement, CloudError, ConfigError
from cloudsched.model.clouds import BootRequest, Cloud
from cloudsched.model.jobs import Shape

_DEFAULT_YAML = (
    Path("/usr/local/share/cloud-scheduler/default.yaml"),
    Path("/usr/share/cloud-scheduler/default.yaml"),
)


class Contexts:
    """Reads what user data is made of, anew for each call, so that an edited file counts at once."""

    def __init__(self, config: Config) -> None:
        self._settings, self._job = config.global_, config.job

    def check(self) -> None:
        """Read what the configuration names once, so that a mistake shows at the start. Raises ConfigError.

        A base document that is a URL is left to the first boot.
        """
        try:
            self._credentials(inject_ca=True)
            self._admin_scripts()
            if not is_url(self._settings.default_yaml):
                self._base()
        except CloudError as ex:
            raise ConfigError(str(ex)) from ex

    def of(self, shape: Shape) -> Context:
        """What all VMs of a shape are given alike. Raises BadRequirement, Transient, MissingExtra."""
        return Context(
            base=self._base(),
            credentials=self._credentials(inject_ca=shape.inject_ca),
            scripts=(*self._admin_scripts(), *self._user_scripts(shape)),
            parts=tuple(self._part(entry, shape.user) for entry in shape.ami_config),
        )

    def completed(self, request: BootRequest, cloud: Cloud, context: Context) -> bytes:
        """One VM's user data. Raises BadRequirement."""
        return cloudinit.user_data(context, request, cloud, self._settings)

    def _base(self) -> str:
        if not self._settings.use_cloud_init:
            return ""
        source = self._settings.default_yaml or next((str(each) for each in _DEFAULT_YAML if each.exists()), "")
        if not source:
            return ""
        text = _read(source, "default_yaml").decode("utf-8-sig", "surrogateescape")
        self._validate(source, text)
        cloudinit.with_files(text, ())
        return text

    def _credentials(self, *, inject_ca: bool) -> tuple[File, ...]:
        settings = self._settings
        found = [
            File(destination or source, _read(source, option), permissions)
            for option, source, destination, permissions in (
                ("cert_file", settings.cert_file, settings.cert_file_on_vm, "0644"),
                ("key_file", settings.key_file, settings.key_file_on_vm, "0600"),
            )
            if source
        ]
        if inject_ca:
            found += [_copied("ca_root_certs", entry) for entry in settings.ca_root_certs]
            found += [_copied("ca_signing_policies", entry) for entry in settings.ca_signing_policies]
        return tuple(found)

    def _admin_scripts(self) -> list[File]:
        sources = self._job.default_vmuserdata
        return _distinct([cloudinit.script_file("admin", each, _read(each, "default_VMUserData")) for each in sources])

    def _user_scripts(self, shape: Shape) -> list[File]:
        for source in shape.user_data:
            if not is_url(source):
                raise BadRequirement(f"VMUserData {source!r}: accepted are http and https URLs.")
        return _distinct([cloudinit.script_file("user", each, fetch(each)) for each in shape.user_data])

    def _part(self, entry: str, owner: str) -> Part:
        source, kind = cloudinit.source_and_kind(entry)
        if is_url(source):
            content = fetch(source)
        elif entry in self._job.default_vmamiconfig:
            content = _read(source, "default_VMAMIConfig")
        elif not source.startswith("/"):
            raise BadRequirement(f"VMAMIConfig {entry!r}: accepted are absolute paths, http and https URLs.")
        else:
            content = read_own(Path(source), account(owner)).content
        if kind == "cloud-config":
            self._validate(source, content.decode("utf-8", "surrogateescape"))
        return Part(cloudinit.file_name(source), content, kind)

    def _validate(self, source: str, text: str) -> None:
        problem = cloudinit.problem(text) if self._settings.validate_yaml else ""
        if problem:
            raise BadRequirement(f"The cloud-config {source} {problem}.")


def _read(source: str, option: str) -> bytes:
    """What the configuration names; unlike a user's, it may be any file."""
    if is_url(source):
        return fetch(source)
    try:
        return Path(source).expanduser().read_bytes()
    except (OSError, RuntimeError) as ex:
        reason = ex.strerror if isinstance(ex, OSError) else ex
        raise BadRequirement(f"{option}: {source} cannot be read: {reason}.") from None


def _copied(option: str, entry: str) -> File:
    source, _, destination = entry.partition(":")
    return File(destination or source, _read(source, option))


def _distinct(files: Sequence[File]) -> list[File]:
    paths = {each.path for each in files}
    if len(paths) < len(files):
        raise BadRequirement("Two scripts for the VM have the same name: one would replace the other.")
    return list(files)
