"""Where the work of many seeds is done: processes of this machine, or the workers of a Dask
cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import resource_tracker
from typing import Any, ParamSpec, TypeVar

from tqdm import tqdm

P = ParamSpec("P")
R = TypeVar("R")

_DASK = "dask://"
_RETRIES = 3  # of a seed whose worker was lost; it goes on where it was


class ProcessEach(Executor):
    """Each call in a fresh process, so many at a time: one that is killed takes no other with it,
    and its memory is given back."""

    def __init__(self, jobs: int) -> None:
        # Ctrl-C at a terminal goes to every process, but these are ended from here; a process
        # inherits what the thread that starts it does not let through
        self._threads = ThreadPoolExecutor(jobs, initializer=_block_interrupts)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._threads.submit(_in_a_process, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=False, cancel_futures=cancel_futures)
        if cancel_futures:
            for child in multiprocessing.active_children():
                child.terminate()
        self._threads.shutdown(wait=wait)


def _block_interrupts() -> None:
    resource_tracker.ensure_running()  # first: to start it unblocks them again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _in_a_process(fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_as_a_worker) as pool:
        return pool.submit(fn, *args, **kwargs).result()


def _as_a_worker() -> None:
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, left over where a worker is ended
    _end_with_the_parent()


def _end_with_the_parent() -> None:
    """A worker whose parent was killed would train on for nobody, in the directory where the next
    run goes on."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def open_executor(name: str, *, jobs: int) -> Iterator[Executor]:
    """`process`, or `dask://HOST:PORT` of a scheduler. `ValueError` names an executor that there is
    not."""
    if name == "process":
        with ProcessEach(jobs) as executor:
            yield executor
    elif name.startswith(_DASK) and name != _DASK:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError(
                f"--executor {name}: needs dask.distributed: pip install 'circuit-claims[dask]'"
            ) from None
        try:
            client = Client(f"tcp://{name.removeprefix(_DASK)}", timeout=30, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--executor {name}: no Dask scheduler answers there: {error}"
            ) from None
        with client, client.get_executor(pure=False, retries=_RETRIES) as executor:
            yield executor
    else:
        raise ValueError(f"--executor must be process or {_DASK}HOST:PORT, got {name!r}")
