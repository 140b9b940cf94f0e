"""The keys that shares are sealed to: one is handed out, older ones still open."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import InvalidInput
from tactful.protocol.dap.messages import HpkeConfig
from tactful.protocol.dap.signed_hpke_config import VERSION, ConfigDocument
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.settings import Aggregator

CONFIG_ID = 1  # of a half's first key
CACHE_SECONDS = 86_400  # how long a config may be used once it was fetched
REFRESH_SECONDS = 5  # after which a worker notices another's new key
EARLY_SECONDS = 86_400  # how far a device's clock may be behind ours
VALID_SECONDS = (
    7 * 86_400
)  # how long a signed config is valid, and how far ahead its clock may be


@dataclass(frozen=True)
class HpkeKeys:
    """The keys at one moment: what is handed out, what new reports may name, and what opens.

    A key that has ended opens what came before, until garbage is collected.
    """

    config: HpkeConfig
    epoch: int
    accepted: Set[int]
    openers: Mapping[int, X25519PrivateKey]
    read_at: int


class Keyring:
    """One half's keys, as they stand in its database; `clock` gives unix seconds."""

    def __init__(
        self, store: Datastore, aggregator: Aggregator, clock: Callable[[], int]
    ) -> None:
        self._store, self._half, self._clock = store, aggregator, clock
        with store.transaction() as tx:
            if not tx.hpke_keys.all():
                tx.hpke_keys.add(CONFIG_ID, aggregator.keys.hpke, self._least_epoch)
        self._held = self._read()

    @property
    def config(self) -> HpkeConfig:
        """The key that is handed out now."""
        return self.current().config

    def current(self) -> HpkeKeys:
        """The keys as they are now; it may read the database, so never within a transaction."""
        if self._clock() >= self._held.read_at + REFRESH_SECONDS:
            self._held = self._read()
        return self._held

    def signed(self) -> bytes:
        """Sign the config that is handed out now, valid from a day ago and for a week."""
        keys, now = self.current(), self._clock()
        document = ConfigDocument(
            version=VERSION,
            role=self._half.settings.role,
            epoch=keys.epoch,
            config=keys.config.encode().hex(),
            not_before=now - EARLY_SECONDS,
            not_after=now + VALID_SECONDS,
        )
        return document.signed(self._half.keys.signer)

    @property
    def _least_epoch(self) -> int:
        """Minutes since 1970, so that a half that lost its database does not begin again at 0."""
        return self._clock() // 60

    def rotate(self) -> HpkeConfig:
        """Hand out a new key. The old one opens for twice the time that a config may be cached."""
        with self._store.transaction() as tx:
            used = {config_id for config_id, _, _ in tx.hpke_keys.all()}
            free = [number for number in range(256) if number not in used]
            if not free:
                raise InvalidInput(
                    "key", "all 256 numbers are in use", "wait until one has ended"
                )
            tx.hpke_keys.retire(self._clock() + 2 * CACHE_SECONDS)
            tx.hpke_keys.add(free[0], secrets.token_bytes(32), self._least_epoch)
        self._held = self._read()
        return self._held.config

    def _read(self) -> HpkeKeys:
        now = self._clock()
        with self._store.transaction() as tx:
            keys, epoch = tx.hpke_keys.all(), tx.hpke_keys.current_epoch()
        openers = {
            number: X25519PrivateKey.from_private_bytes(private)
            for number, private, _ in keys
        }
        accepted = {number for number, _, ends in keys if ends is None or now < ends}
        newest = next(config_id for config_id, _, expires in keys if expires is None)
        public = openers[newest].public_key().public_bytes_raw()
        return HpkeKeys(HpkeConfig(newest, public), epoch, accepted, openers, now)
