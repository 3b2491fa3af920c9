"""Jobs: v1's queues, one job, the job pool (I11, I12, I15)."""

from __future__ import annotations

from cloudsched.errors import NotFound
from cloudsched.info.page import show, without_suffix
from cloudsched.info.picture import Page, Picture, Pictures
from cloudsched.render import documents, jobs
from cloudsched.web import Request, Response, params

_STATE = params.Parameter("state", params.word(*jobs.QUEUES), required=True)
_TOPICS = ("jobs", "shapes")


class Jobs:
    """The jobs in one of v1's queues or states."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the jobs of a `state`: 200, or 400."""
        state = params.read(req, _STATE)["state"]
        picture = self._pictures.current()
        show(req, resp, _queue(picture, state), picture)


def _queue(picture: Picture, state: str) -> Page:
    chosen = jobs.QUEUES[state]
    return Page(
        text=lambda: jobs.table(filter(chosen, picture.jobs)),
        document=lambda: documents.encode(documents.job_list(filter(chosen, picture.jobs), picture.reasons)),
        key=("jobs", state),
        topics=_TOPICS,
    )


class OneJob:
    """One job, by GlobalJobId or as CLUSTER.PROC."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response, job: str) -> None:
        """GET a job: 200, or 404 with v1's sentence, `null` for `.json`."""
        params.read(req)
        picture = self._pictures.current()
        known = picture.contents.jobs
        job_id, json_named = without_suffix(job, lambda name: jobs.find(known, name))
        found = jobs.find(known, job_id)
        if found is None:
            raise NotFound("job", job_id, v1_text="null" if json_named else jobs.NO_JOB)
        page = Page(
            text=lambda: jobs.table([found]),
            document=lambda: documents.encode(documents.job(found, picture.reasons)),
        )
        show(req, resp, page, picture, json_named=json_named)


def pool(picture: Picture) -> Page:
    """`GET /job_pools.json`, the wiki's URL: every job, encoded once (B-13)."""

    def document() -> str:
        return documents.encode(documents.job_pool(picture.jobs, picture.reasons))

    return Page(document, document, ("job_pools",), _TOPICS)


def pool_encoded_twice(picture: Picture) -> Page:
    """`GET /job-pool.json`, v1's URL: each job is a string that holds JSON, as its readers expect."""

    def document() -> str:
        return documents.encode(documents.job_pool_encoded_twice(picture.jobs, picture.reasons))

    return Page(document, document, ("job-pool",), _TOPICS)
