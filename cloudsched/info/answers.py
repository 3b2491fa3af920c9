"""What is answered before anything is routed: pages that have been asked for before, one VM, one job."""

from __future__ import annotations

from functools import partial

from cloudsched.errors import BadRequest, NotFound, StateError
from cloudsched.info import jobs, vms
from cloudsched.info.forms import Named
from cloudsched.info.page import form
from cloudsched.info.picture import Picture, Pictures
from cloudsched.render.jobs import numbers
from cloudsched.store import Store, queues
from cloudsched.store.brief import Brief
from cloudsched.web.ready import Environ, Ready
from cloudsched.web.routing import are_names, raw_path, segments


class Answers:
    """Finds answers to requests that ask for nothing but to read."""

    def __init__(self, pictures: Pictures, store: Store) -> None:
        self._pictures, self._brief = pictures, Brief(store)

    def ready(self, environ: Environ) -> Ready | None:
        """A page that is kept; None also while the state cannot be read, which is somebody else's to say."""
        try:
            return self._pictures.current().answer(environ)
        except StateError:
            return None

    def at_hand(self, environ: Environ) -> Ready | None:
        """A page, a VM or a job where that waits for nothing; for the server's main loop alone.

        Whatever is not as it should be with the request or the state is a worker's to say.
        """
        picture = self._pictures.at_hand()
        if picture is None:
            return None
        return picture.answer(environ) or self._single(environ, picture)

    def _single(self, environ: Environ, picture: Picture) -> Ready | None:
        if environ.get("QUERY_STRING"):
            return None
        try:
            named = self._named(segments(raw_path(environ)), picture)
            if named is None:
                return None
            return picture.made(named.page, form(environ, by_url=named.as_json))
        except (BadRequest, NotFound):
            return None

    def _named(self, names: list[str], picture: Picture) -> Named | None:
        match names:
            case ["clusters", cloud, "vms", vm] if are_names(names) and picture.is_sorted:
                return vms.one(picture, cloud, vm)
            case ["jobs", job] if are_names(names):
                return self._job(picture, job)
        return None

    def _job(self, picture: Picture, job: str) -> Named | None:
        meant = jobs.references(job)
        query = partial(queues.job, references=meant, numbers=numbers(meant), shapes=picture.shapes)
        found = self._brief.find(query)
        # A later change than the picture's would be shown beside what is older.
        return jobs.one(picture, found.job, job) if found and found.revision <= picture.index else None
