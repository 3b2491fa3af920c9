"""The information daemon's application: v1's URLs, the wiki's, and `.json` after each (PARITY 1.3)."""

from __future__ import annotations

from functools import partial

from cloudsched.config import Config
from cloudsched.info import clouds, diagnostics, failures, jobs, metrics, monitors, vms
from cloudsched.info.ages import Ages
from cloudsched.info.page import Fixed, PageOf
from cloudsched.info.picture import Pictures
from cloudsched.info.root import Root
from cloudsched.store import Store
from cloudsched.web.app import WSGIApp, build, gate, shared_routes
from cloudsched.web.ready import Reads
from cloudsched.web.traffic import Traffic


def create_app(store: Store, config: Config) -> WSGIApp:
    """The application over a store, which may be read-only. Raises ConfigError for an unusable token file."""
    settings, traffic = config.global_, Traffic()
    pictures = Pictures(store, seats=settings.wait_seats)
    entrance = gate("info", store, settings)
    routes = {**_routes(store, config, pictures), **shared_routes("info", store, settings, traffic)}
    app = build(routes, entrance, settings.access_log, traffic, Reads(pictures.answer, Ages(store)))
    app.stopping = pictures.news.close
    return app


def _routes(store: Store, config: Config, pictures: Pictures) -> dict[str, object]:
    settings = config.global_
    pages: dict[str, PageOf] = {
        "/cloud": clouds.overview,
        "/clusters": clouds.clusters,
        "/ips": monitors.ips,
        "/diff-types": partial(monitors.diff_types, settings=settings),
        "/failures/boot": failures.boot,
        "/failures/image": failures.image,
        "/shared-objs": diagnostics.shared_objects,
        "/metrics": metrics.state,
    }
    developer = Fixed(pictures, diagnostics.developer_information, ages=True)
    resources: dict[str, object] = {url: Fixed(pictures, page) for url, page in pages.items()} | {
        "/cloud/config": clouds.CloudConfig(pictures, config),
        "/cloud/health": clouds.CloudHealth(pictures, store),
        "/clusters/{cloud}/vms": vms.CloudsVMs(pictures),
        **dict.fromkeys(("/vms", "/vms/resources"), vms.VMs(pictures)),
        "/jobs": jobs.Jobs(pictures),
        "/failures": failures.Failures(pictures),
        "/failures/vms": failures.VMFailures(store),
        "/developer-info": developer,
        "/developer_info": developer,
        "/thread-heart-beats": monitors.HeartBeats(store, settings),
    }
    one_form: dict[str, object] = {
        "/": Root(pictures, store, settings),
        "/clusters/{cloud}": clouds.Cluster(pictures),
        "/clusters/{cloud}/vms/{vm}": vms.OneVM(pictures),
        "/jobs/{job}": jobs.OneJob(pictures),
        "/job-pool.json": Fixed(pictures, jobs.pool_encoded_twice),
        "/job_pools.json": Fixed(pictures, jobs.pool),
    }
    with_json = {f"{url}.json": resource for url, resource in resources.items()}
    return {**resources, **with_json, **one_form}
