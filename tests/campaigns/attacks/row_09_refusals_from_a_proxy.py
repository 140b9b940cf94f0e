"""Something in front of the helper answers 400 to everything, to make the leader drop reports."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from attacked_pair import collector_of, count_task, sent

from tactful.errors import BatchError, ProtocolError
from tactful_aggregator.dap.collector import AggregateResult, Collector
from tactful_aggregator.testing import RunningPair, running_pair

TITLE = "Refusals from something in front of the helper drop acknowledged reports"
REPORTS = 5
MOST_REFUSALS, REFUSING_SECONDS, PATIENCE_SECONDS = 25, 4.0, 6.0


def attack(folder: Path) -> str | None:
    """Answer in the helper's place for some seconds while its batch is collected."""
    with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
        written, key = count_task(pair)
        collector = collector_of(pair, written.provisioned.task, key)
        sent(pair, collector.task, REPORTS)
        pair.helper.stop()
        with _refusing(pair.helper.url) as answered:
            job = collector.create(pair.transport, collector.everything())
            until = time.monotonic() + REFUSING_SECONDS
            while answered() < MOST_REFUSALS and time.monotonic() < until:
                time.sleep(0.05)
            if not answered():
                raise AssertionError("the leader did not ask the helper")
        pair.helper.start()
        pair.resume_jobs()
        return _obtained(pair, collector, job)


def _obtained(pair: RunningPair, collector: Collector, job: str) -> str | None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            found = collector.poll(pair.transport, job, collector.everything())
        except (BatchError, ProtocolError) as refused:
            return f"the batch can never be collected: {refused}"
        if isinstance(found, AggregateResult):
            lost = REPORTS - found.count
            return f"{lost} acknowledged reports were dropped" if lost else None
        time.sleep(0.1)
    return f"the batch of {REPORTS} acknowledged reports is not collected"


@contextmanager
def _refusing(url: str) -> Iterator[Callable[[], int]]:
    """A server at `url` that answers 400; yields how many answers it gave so far."""
    answers: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            answers.append(self.path)
            self.send_error(400)

        def do_POST(self) -> None:
            self.do_PUT()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    parts = urlsplit(url)
    server = ThreadingHTTPServer((str(parts.hostname), int(parts.port or 0)), Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield lambda: len(answers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
