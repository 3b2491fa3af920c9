"""Clouds that are defined by a JSON document instead of a section of cloud_resources.conf (docs/clouds.md).

A document is an object of the options that a section has. Its values become the texts that a section would hold, and
are checked as those are. Beyond that it is refused what a file may say and a request must not: to run or read
something of the scheduler's host, and to send credentials that it does not name itself to another address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudsched.config.cloud_kinds import CLOUD_OPTIONS
from cloudsched.config.clouds import HostSize, read_options
from cloudsched.config.complaints import Complaint, error, errors, warning
from cloudsched.config.options import Global
from cloudsched.config.secrets import MASK, is_secret, masked
from cloudsched.errors import BadDefinition

Options = Mapping[str, str]

FILE_ONLY = frozenset({"auth_dat_file", "clouds_yaml", "command", "contextualization", "keycert", "secret_file"})
"""What names a command or a file of the scheduler's host."""

ADDRESS = frozenset({"auth_url", "blob_url", "cacert", "cloud_type", "host", "os_cloud", "port", "secure_connection"})
"""What decides to whom credentials are sent, and whether that is checked."""

_LONGEST = 4096
_NAMED = "name"


@dataclass(frozen=True, slots=True)
class Draft:
    """A definition as it shall be: `options` without and `secrets` with what must not be shown, and what warns.

    `given` are the options that the document names, those it takes away among them.
    """

    options: Options
    secrets: Options = field(repr=False)
    given: frozenset[str] = frozenset()
    warnings: tuple[Complaint, ...] = ()

    @property
    def enabled(self) -> bool | None:
        """Whether the document says that the cloud be enabled; None where it says nothing of that."""
        text = self.options.get("enabled") if "enabled" in self.given else None
        return None if text is None else bool(CLOUD_OPTIONS["enabled"].read(text))


@dataclass(frozen=True, slots=True)
class Document:
    """A document for the cloud `name`; `partial` changes what it names (RFC 7396), else it is the whole definition."""

    name: str
    values: Mapping[str, Any] = field(repr=False)
    partial: bool = False

    def draft(self, before: Draft | None, settings: Global, host: HostSize) -> Draft:
        """What it makes of the definition `before`, None for a new cloud. Raises BadDefinition with all complaints.

        Secrets that a whole definition leaves out stay as they are: nobody can read them to say them again.
        """
        complaints: list[Complaint] = list(_name_complaints(self.name))
        given = self._texts(complaints)
        texts = self._merged(given, before)
        complaints += _request_complaints(given, texts, before)
        section, found = read_options(self.name, texts, settings, host)
        complaints += [*found, *_cautions(section.cloud.vm_slots)]
        if errors(complaints):
            raise BadDefinition([each.document for each in complaints])
        plain = {option: text for option, text in texts.items() if not hidden(option, text)}
        secrets = {option: text for option, text in texts.items() if option not in plain}
        return Draft(plain, secrets, frozenset(given), tuple(complaints))

    def _texts(self, complaints: list[Complaint]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for option, value in self.values.items():
            if option == _NAMED:
                if not isinstance(value, str) or value.lower() != self.name:
                    problem = f"name must be that of the URL, {self.name!r}, or be left out."
                    complaints.append(error("bad-name", option, problem))
            elif value is None and self.partial:
                found[option.lower()] = None
            else:
                text = _text(value)
                if text is None:
                    complaints.append(error("bad-value", option, _accepted(option)))
                else:
                    found[option.lower()] = text
        return found

    def _merged(self, given: Mapping[str, str | None], before: Draft | None) -> dict[str, str]:
        kept: dict[str, str] = {}
        if before is not None:
            kept = {**before.options, **before.secrets} if self.partial else dict(before.secrets)
        return {option: text for option, text in {**kept, **given}.items() if text is not None}


def hidden(option: str, text: str) -> bool:
    """Whether an option's text must not be shown as it is: a secret by name, or an address with a password in it."""
    return is_secret(option) or masked(text) != text


def shown(draft: Draft) -> dict[str, str]:
    """The options as anybody may see them, secrets masked, by name."""
    secrets = {option: MASK if is_secret(option) else masked(text) for option, text in draft.secrets.items()}
    return dict(sorted({**draft.options, **secrets}.items()))


def _name_complaints(name: str) -> list[Complaint]:
    if name.strip() and name not in (".", ".."):
        return []
    return [error("bad-name", _NAMED, f"A cloud cannot be called {name!r}.")]


def _text(value: Any) -> str | None:
    """A JSON value as a section would hold it; None for what no section can hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        parts = [each for each in map(_text, value) if each is not None]
        is_plain = len(parts) == len(value) and not any("," in each for each in parts)
        return ", ".join(parts) if is_plain else None
    if not isinstance(value, str | int) or len(str(value)) > _LONGEST:
        return None
    text = str(value).strip()
    return text if text.isprintable() else None


def _accepted(option: str) -> str:
    kinds = "a text of one line, a whole number, true, false or a list of texts without commas"
    return f"{option} must be {kinds}."


def _request_complaints(given: Mapping[str, str | None], texts: Options, before: Draft | None) -> list[Complaint]:
    found = [
        error("file-only", option, f"{option} names something on the scheduler's host: only the file may have it.")
        for option in sorted(FILE_ONLY & given.keys())
    ]
    if before is None:
        return found
    known = {**before.options, **before.secrets}
    moved = sorted(option for option in ADDRESS if known.get(option) != texts.get(option))
    kept = sorted(option for option in before.secrets if is_secret(option) and option in texts and option not in given)
    if moved and kept:
        problem = f"With another {', '.join(moved)} the credentials must be given again: {', '.join(kept)}."
        found += [error("credentials-needed", option, problem) for option in kept]
    return found


def _cautions(slots: int) -> list[Complaint]:
    return [] if slots else [warning("no-slots", "vm_slots", "With 0 vm_slots the cloud boots no VM.")]
