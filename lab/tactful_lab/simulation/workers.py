"""Where parts of a simulation run: here, in processes or threads, or on a cluster of Ray or Dask.

Anything that is a `concurrent.futures.Executor` will do; parts are added in their order, so a
figure does not depend on how many work or who is first.
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
WAITING = (
    16  # parts handed out at a time, so that memory does not grow with their number
)
MOST_WORKERS = 1_024

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Part = TypeVar("Part")


def in_order(
    executor: Executor | None, work: Callable[[Part], Result], parts: Iterable[Part]
) -> Iterator[Result]:
    """`work` of each part, in their order; without an `executor`, one after the other here."""
    if executor is None:
        yield from map(work, parts)
        return
    source = iter(parts)
    waiting = deque(executor.submit(work, part) for part in islice(source, WAITING))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(executor.submit(work, part) for part in islice(source, 1))
        yield result


@contextmanager
def workers(kind: str, count: int) -> Iterator[Executor | None]:
    """An executor with `count` workers; None for one worker in processes or threads.

    Raises InvalidInput for an unknown kind, a count not in 1..1024, or what is not installed.
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
    """Ray's tasks as futures of the standard library; starts `count` workers on this machine."""

    def __init__(self, count: int) -> None:
        try:
            import ray
        except ImportError as absent:
            raise _absent("ray") from absent
        self._ray = ray
        ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """The future of one call on some worker."""
        task = self._ray.remote(_called)  # a plain function, as Ray wants it
        future: Future[Result] = task.remote(fn, *args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the workers that this executor started."""
        self._ray.shutdown()


@contextmanager
def _dask(count: int) -> Iterator[Executor]:
    """Dask's own executor, over `count` processes of one thread each."""
    try:
        from distributed import Client
    except ImportError as absent:
        raise _absent("dask") from absent
    with Client(
        n_workers=count, threads_per_worker=1, dashboard_address=None
    ) as client:
        yield client.get_executor()


def _called(
    fn: Callable[Arguments, Result],
    /,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    return fn(*args, **kwargs)


def _absent(kind: str) -> InvalidInput:
    return InvalidInput(
        "--on", f"{kind} is not installed", f"pip install 'tactful-lab[{kind}]'"
    )


def _processes(count: int) -> Executor:
    return ProcessPoolExecutor(
        count, get_context("spawn")
    )  # a forked one may inherit a lock


_STARTS: dict[str, Callable[[int], AbstractContextManager[Executor]]] = {
    "processes": _processes,
    "threads": ThreadPoolExecutor,
    "ray": RayExecutor,
    "dask": _dask,
}
