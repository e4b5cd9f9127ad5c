"""A real Dask scheduler with real worker processes on loopback."""

from __future__ import annotations

import os
from contextlib import contextmanager

import dask
from distributed import LocalCluster
from distributed.utils import get_mp_context
from forked import FORKED, PRELOADED

dask.config.set({"distributed.admin.log-format": "%(message)s"})
dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
get_mp_context()  # sets what is preloaded, the first time
FORKED.set_forkserver_preload([*PRELOADED, "distributed", "framelode.adapters.executors.dask", "pandas"])


@contextmanager
def local_cluster(workers=2):
    """Give a cluster of worker processes with one thread each."""
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        yield cluster


@contextmanager
def unlike_workers(resources):
    """Give a cluster of two worker processes, of which only the first, ``0``, has resources."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        resources=resources,
    ) as cluster:
        first = cluster.worker_spec[0]
        cluster.worker_spec["plain"] = {**first, "options": {**first["options"], "resources": {}}}
        cluster.sync(cluster._correct_state)
        yield cluster


def threads_cluster():
    """Return a cluster with one worker in this process, which is much faster to start."""
    return LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    )


def worker_pids(cluster):
    """Return the process id of each worker."""
    return list(cluster._client.run(os.getpid).values())
