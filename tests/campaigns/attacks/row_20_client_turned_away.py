"""Something shows a DAP-18 client the pair's keys in a type that the client does not take."""

from pathlib import Path

from tactful.protocol.dap.messages import decode_config_list
from tactful.protocol.transport import HttpTransport, Request
from tactful_aggregator.testing import running_pair

TITLE = "A DAP client that is turned away"
NEW, OLD = (
    "application/ppm-dap;message=hpke-config-list",
    "application/dap-hpke-config-list",
)
CLIENTS = {  # what it accepts, its query, and the one type that it takes
    "Janus main (DAP-18)": (NEW, "", NEW),
    "a DAP-18 client that accepts anything": ("*/*", "", NEW),
    "the npm client (DAP-09)": (OLD, "?task_id=AAAA", OLD),
}


def attack(folder: Path) -> str | None:
    """Ask both halves for their keys as each client does, and check as strictly as it does."""
    turned_away = []
    with running_pair(folder, min_batch_floor=4) as pair:
        for name, (accept, query, taken) in CLIENTS.items():
            for url in (pair.leader.url, pair.helper.url):
                request = Request(
                    "GET", f"{url}/hpke_config{query}", b"", {"Accept": accept}
                )
                answer = HttpTransport().send(request)
                if not (answer.ok and decode_config_list(answer.body)):
                    raise RuntimeError(f"{url}: no configs at all")
                if answer.header("content-type") != taken:
                    turned_away.append(name)
    return f"{turned_away[0]} cannot report to this pair" if turned_away else None
