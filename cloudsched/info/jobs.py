"""Jobs: v1's queues, one job, the job pool (I11, I12, I15)."""

from __future__ import annotations

from functools import partial

from cloudsched.errors import BadRequest, NotFound
from cloudsched.info import news, nouns
from cloudsched.info.forms import Named, Page
from cloudsched.info.job_rows import jobs_source
from cloudsched.info.listed import Listings
from cloudsched.info.page import picture_for, show, show_current
from cloudsched.info.picture import Picture, Pictures
from cloudsched.model.jobs import Job
from cloudsched.render import documents, jobs
from cloudsched.store import Store
from cloudsched.web import Request, Response, params

_TOPICS = ("jobs", "shapes")


class Jobs:
    """The jobs in one of v1's queues or states, or a page of those that are asked for otherwise."""

    def __init__(self, pictures: Pictures, store: Store, listings: Listings) -> None:
        self._pictures, self._listings = pictures, listings
        self._source = jobs_source(store, pictures)

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the jobs of a `state`, or a page: 200, 400, or 410."""
        values = params.read(req, *nouns.JOBS.parameters, *news.PARAMETERS)
        asked = nouns.JOBS.asked(values)
        if asked is None:
            raise BadRequest("The parameter 'state' is missing.", "state", code="missing-parameter")
        picture = picture_for(req, self._pictures, values, _TOPICS)
        if values.keys() - {"index", "wait"} == {"state"}:
            show_current(req, resp, self._pictures, partial(_queue, values["state"]), picture)
        else:
            self._listings.show(req, resp, asked, self._source, picture)


def _queue(state: str, picture: Picture) -> Page:
    return Page(
        text=lambda: jobs.listed(picture.listed(state, False)),
        document=lambda: documents.joined(jobs=picture.listed(state, True)),
        key=("jobs", state),
        topics=_TOPICS,
        queues=(state,),
    )


class OneJob:
    """One job, by GlobalJobId or as CLUSTER.PROC."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response, job: str) -> None:
        """GET a job: 200, or 404 with v1's sentence, `null` for `.json`."""
        picture_for(req, self._pictures, params.read(req, *news.PARAMETERS), _TOPICS)
        picture, found = self._pictures.job(*references(job))
        if found is None:
            *_, plain = references(job)
            raise NotFound("job", plain, v1_text="null" if plain != job else jobs.NO_JOB)
        named = one(picture, found, job)
        show(req, resp, named.page, picture, json_named=named.as_json)


def references(job: str) -> tuple[str, ...]:
    """What the name in a job's URL may mean, the likelier one first."""
    return tuple(dict.fromkeys((job, job.removesuffix(".json") or job)))


def one(picture: Picture, found: Job, job: str) -> Named:
    """The page of a job by the name in its URL."""
    page = Page(
        text=lambda: jobs.table([found]),
        document=lambda: documents.encode(documents.job(found, picture.reasons)),
        topics=_TOPICS,
    )
    return Named(page, len(references(job)) > 1 and found.id != job)


_POOL = ("new", "sched")


def pool(picture: Picture) -> Page:
    """`GET /job_pools.json`, the wiki's URL: every job, encoded once (B-13)."""

    def document() -> str:
        return documents.joined(**{f"{word}_jobs": picture.listed(word, True) for word in _POOL})

    return Page(document, document, ("job_pools",), _TOPICS, queues=_POOL)


def pool_encoded_twice(picture: Picture) -> Page:
    """`GET /job-pool.json`, v1's URL: each job is a string that holds JSON, as its readers expect."""

    def document() -> str:
        return documents.joined(**{f"{word}_jobs": map(documents.encode, picture.listed(word, True)) for word in _POOL})

    return Page(document, document, ("job-pool",), _TOPICS, queues=_POOL)
