"""Parallel execution of simulations: processes, threads, Ray or Dask.

Any `concurrent.futures.Executor` can be used. Results are consumed in the order of the
parts, so no figure depends on the number of workers or on their speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from tactful.errors import InvalidInput

KINDS = ("processes", "threads", "ray", "dask")
WAITING = 16  # parts submitted at a time, which bounds the memory of a simulation
MOST_WORKERS = 1_024

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Part = TypeVar("Part")


def in_order(
    executor: Executor | None, work: Callable[[Part], Result], parts: Iterable[Part]
) -> Iterator[Result]:
    """Yield `work` of each part, in order; without an `executor`, in this thread."""
    if executor is None:
        yield from map(work, parts)
        return
    source = iter(parts)
    pending = deque(executor.submit(work, part) for part in islice(source, WAITING))
    while pending:
        # One more part is submitted for each result.
        result = pending.popleft().result()
        pending.extend(executor.submit(work, part) for part in islice(source, 1))
        yield result


@contextmanager
def workers(kind: str, count: int) -> Iterator[Executor | None]:
    """Provide an executor with `count` workers; None for one process or thread.

    Raises InvalidInput for an unknown kind, for a count not in 1..1024, or if the
    library for this kind is not installed.
    """
    if kind not in KINDS:
        raise InvalidInput("--on", f"{kind!r} is unknown", f"use {', '.join(KINDS)}")
    if not 1 <= count <= MOST_WORKERS:
        raise InvalidInput("--workers", f"{count} is not in 1..{MOST_WORKERS}", "use 2")
    if count == 1 and kind in ("processes", "threads"):
        yield None
        return
    with _STARTS[kind](count) as executor:
        yield executor


class RayExecutor(Executor):
    """An executor over Ray, with `count` workers that it starts on this machine."""

    def __init__(self, count: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise _not_installed("ray") from error
        self._ray = ray
        ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """Submit one call to a worker and return its future."""
        # Ray accepts plain functions only, not the partial objects used here.
        task = self._ray.remote(_call)
        future: Future[Result] = task.remote(fn, *args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the workers of this executor."""
        self._ray.shutdown()


@contextmanager
def _dask(count: int) -> Iterator[Executor]:
    """Provide Dask's executor, over `count` processes of one thread each."""
    try:
        from distributed import Client
    except ImportError as error:
        raise _not_installed("dask") from error
    with Client(
        n_workers=count, threads_per_worker=1, dashboard_address=None
    ) as client:
        yield client.get_executor()


def _call(
    fn: Callable[Arguments, Result],
    /,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    return fn(*args, **kwargs)


def _not_installed(kind: str) -> InvalidInput:
    return InvalidInput(
        "--on", f"{kind} is not installed", f"pip install 'tactful-lab[{kind}]'"
    )


def _processes(count: int) -> Executor:
    # A forked process may inherit a lock that another thread holds.
    return ProcessPoolExecutor(count, get_context("spawn"))


_STARTS: dict[str, Callable[[int], AbstractContextManager[Executor]]] = {
    "processes": _processes,
    "threads": ThreadPoolExecutor,
    "ray": RayExecutor,
    "dask": _dask,
}
