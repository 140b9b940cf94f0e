"""Every default is the private one, and every wrong value is named with its fix."""

import base64
from pathlib import Path

import pytest

from tactful.device.settings import Aggregators, Settings
from tactful.errors import InvalidInput

KEY, OTHER_KEY = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
PAIR = {
    "model": "books",
    "leader": "https://leader.example",
    "helper": "https://helper.example",
    "leader_key": KEY,
    "helper_key": OTHER_KEY,
}


def test_the_defaults_share_nothing() -> None:
    settings = Settings(path=None)

    assert (settings.aggregators, settings.lifetime_epsilon) == (None, 0.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("balance", 1.5),
        ("balance", float("nan")),
        ("diversity", -0.1),
        ("lifetime_epsilon", -1.0),
        ("lifetime_epsilon", float("inf")),
        ("delta", 0.0),
        ("min_batch_size", 0),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"settings.{field}: .*; "):
        Settings(path=None, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "Bücher"),
        ("leader", "ftp://leader"),
        ("leader_key", "short"),
        ("helper_key", "AAAA"),
        ("helper", PAIR["leader"]),
        ("helper_key", KEY),
    ],
)
def test_a_pair_that_cannot_be_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=r"aggregators\."):
        Aggregators(**{**PAIR, field: value})


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    lines = ['path = "taste.db"', "lifetime_epsilon = 3.0", "[aggregators]"]
    lines += [f'{name} = "{value}"' for name, value in PAIR.items()]
    (tmp_path / "tactful.toml").write_text("\n".join(lines))

    settings = Settings.from_file(tmp_path / "tactful.toml")

    assert settings == Settings(
        path="taste.db", lifetime_epsilon=3.0, aggregators=Aggregators(**PAIR)
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("balance = 2.0", "balance"),
        ("colour = 1", "colour"),
        ('balance = "high"', "balance"),
        ("balance = ", "settings: "),
        ("[aggregators]\nmodel = 'x'", "aggregators.leader"),
    ],
)
def test_a_malformed_file_names_the_field(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "tactful.toml").write_text(text)

    with pytest.raises(InvalidInput, match=complaint):
        Settings.from_file(tmp_path / "tactful.toml")
