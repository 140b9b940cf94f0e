"""http is for this machine alone; to any other, anybody on the way could answer."""

import base64

import pytest

from tactful.device.settings import Aggregators
from tactful.errors import InvalidInput
from tactful.protocol.address import require_protected
from tactful.protocol.transport import HttpTransport, Request
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.settings import AggregatorSettings, PairingDocument

KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
PROTECTED = [
    "https://leader.example",
    "https://10.0.0.1:8443/base",
    "http://127.0.0.1:8000",
    "http://127.8.9.10",
    "http://localhost:8000",
    "http://LOCALHOST",
    "http://[::1]:8000",
]
EXPOSED = [
    "http://leader.example",
    "HTTP://leader.example",
    "http://10.0.0.1",
    "http://192.168.0.5:8000",
    "http://[fe80::1]",
    "http://0.0.0.0",
    "http://localhost.example",
    "http://127.0.0.1.example",
    "http://127.1.example",
    "http://127.0.0.1@leader.example",
    "http://leader.example@127.0.0.1",
    "http://leader.example\\@127.0.0.1",
    "http://2130706433.example",
]


@pytest.mark.parametrize("url", PROTECTED)
def test_https_and_this_machine_are_protected(url: str) -> None:
    require_protected("leader", url)


@pytest.mark.parametrize("url", EXPOSED)
def test_http_to_another_machine_is_refused_by_field(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"leader: .* use https://"):
        require_protected("leader", url)


@pytest.mark.parametrize("field", ["leader", "helper", "publisher"])
def test_a_device_is_not_set_up_with_an_exposed_address(field: str) -> None:
    pair = {
        "model": "books",
        "leader": "https://leader.example",
        "helper": "https://helper.example",
        "leader_key": KEYS[0],
        "helper_key": KEYS[1],
    }
    with pytest.raises(InvalidInput, match=rf"aggregators\.{field}: .* use https://"):
        Aggregators(**{**pair, field: "http://10.0.0.1"})


def test_the_transport_sends_nothing_to_an_exposed_address() -> None:
    with pytest.raises(InvalidInput, match=r"request\.url: .* use https://"):
        HttpTransport().send(Request("GET", "http://192.0.2.1/hpke_config"))


def test_a_half_neither_has_nor_accepts_an_exposed_address() -> None:
    with pytest.raises(InvalidInput, match=r"url: .* use https://"):
        AggregatorSettings(role="leader", url="http://leader.example")
    with pytest.raises(InvalidInput, match=r"url: .* use https://"):
        card("http://helper.example")


def test_a_leader_asks_no_helper_at_an_exposed_address() -> None:
    exposed = card("https://helper.example")
    object.__setattr__(exposed, "url", "http://helper.example")

    with pytest.raises(InvalidInput, match=r"peer\.url: .* use https://"):
        HelperClient(exposed, HttpTransport())


def card(url: str) -> PairingDocument:
    return PairingDocument(
        role="helper",
        url=url,
        signing_key=KEYS[0],
        collector_key=KEYS[1],
        verify="0" * 64,
        token="t" * 32,
    )
