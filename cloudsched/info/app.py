"""The information daemon's application: v1's URLs, the wiki's, and `.json` after each (PARITY 1.3)."""

from __future__ import annotations

from functools import partial
from typing import Any

from cloudsched.config import Config, Global
from cloudsched.info import clouds, diagnostics, explain, failures, jobs, metrics, monitors, vms
from cloudsched.info.answers import Answers
from cloudsched.info.job_rows import boot_failures_source
from cloudsched.info.listed import Listings, Source
from cloudsched.info.page import Fixed, Listed, PageOf
from cloudsched.info.picture import Pictures
from cloudsched.info.root import Root
from cloudsched.store import Store
from cloudsched.web.ages import Ages
from cloudsched.web.app import WSGIApp, build, gate, shared_routes
from cloudsched.web.ready import Reads
from cloudsched.web.traffic import Traffic


def create_app(store: Store, config: Config) -> WSGIApp:
    """The application over a store, which may be read-only. Raises ConfigError for an unusable token file."""
    settings, traffic = config.global_, Traffic()
    pictures = Pictures(store, seats=settings.wait_seats)
    entrance = gate("info", store, settings)
    routes = {**_routes(store, config, pictures), **shared_routes("info", store, settings, traffic)}
    answers = Answers(pictures, store)
    reads = Reads(Ages(store), answers.ready, answers.at_hand)
    app = build(routes, entrance, settings.access_log, traffic, reads)
    app.stopping = pictures.news.close
    return app


def _routes(store: Store, config: Config, pictures: Pictures) -> dict[str, object]:
    settings = config.global_
    pages: dict[str, PageOf] = {
        "/ips": monitors.ips,
        "/diff-types": partial(monitors.diff_types, settings=settings),
        "/shared-objs": diagnostics.shared_objects,
        "/metrics": metrics.state,
    }
    listed: dict[str, tuple[PageOf, Source[Any]]] = {
        "/cloud": (clouds.overview, clouds.OVERVIEW),
        "/clusters": (clouds.clusters, clouds.CLUSTERS),
        "/failures/boot": (failures.boot, boot_failures_source(store, pictures)),
        "/failures/image": (failures.image, failures.IMAGES),
    }
    listings = Listings(pictures)
    developer = Fixed(pictures, diagnostics.developer_information, ages=True)
    resources: dict[str, object] = {
        **{url: Fixed(pictures, page) for url, page in pages.items()},
        **{url: Listed(pictures, page, listings, source) for url, (page, source) in listed.items()},
        "/cloud/config": clouds.CloudConfig(pictures, config),
        "/cloud/health": clouds.CloudHealth(pictures, store, listings),
        "/clusters/{cloud}/vms": vms.CloudsVMs(pictures, listings),
        **dict.fromkeys(("/vms", "/vms/resources"), vms.VMs(pictures, listings)),
        "/jobs": jobs.Jobs(pictures, store, listings),
        "/failures": failures.Failures(pictures),
        "/failures/vms": failures.VMFailures(store, pictures, listings),
        "/developer-info": developer,
        "/developer_info": developer,
        "/jobs/{job}/explain": explain.Explanation(store, config),
        "/thread-heart-beats": monitors.HeartBeats(store, settings),
    }
    with_json = {f"{url}.json": resource for url, resource in resources.items()}
    return {**resources, **with_json, **_of_one_form(store, pictures, settings)}


def _of_one_form(store: Store, pictures: Pictures, settings: Global) -> dict[str, object]:
    """What has no URL with `.json` beside its own."""
    return {
        "/": Root(pictures, store, settings),
        "/clusters/{cloud}": clouds.Cluster(pictures),
        "/clusters/{cloud}/vms/{vm}": vms.OneVM(pictures),
        "/jobs/{job}": jobs.OneJob(pictures),
        "/job-pool.json": Fixed(pictures, jobs.pool_encoded_twice),
        "/job_pools.json": Fixed(pictures, jobs.pool),
    }
