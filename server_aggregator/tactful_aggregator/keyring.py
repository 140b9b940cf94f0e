"""HPKE keys that devices seal shares to: one is published, older ones still open shares."""

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

# Id of an aggregator's first key.
CONFIG_ID = 1
CONFIG_IDS = 256
# A device may use a configuration for this time after fetching it.
CACHE_SECONDS = 86_400
# A process notices a new key of another process after this time.
REFRESH_SECONDS = 5
# A device's clock may be behind by this much.
EARLY_SECONDS = 86_400
# Validity of a signed configuration, and how far ahead a device's clock may be.
VALID_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class HpkeKeys:
    """The keys at one time: published, accepted in new reports, and able to open reports.

    An expired key opens earlier reports until garbage is collected.
    """

    config: HpkeConfig
    epoch: int
    accepted: Set[int]
    openers: Mapping[int, X25519PrivateKey]
    read_at: int


class Keyring:
    """The HPKE keys of one aggregator from its database; `clock` returns unix seconds."""

    def __init__(
        self, store: Datastore, aggregator: Aggregator, clock: Callable[[], int]
    ) -> None:
        self._store, self._aggregator, self._clock = store, aggregator, clock
        with store.transaction() as tx:
            if not tx.hpke_keys.all():
                tx.hpke_keys.add(CONFIG_ID, aggregator.keys.hpke, self._min_epoch)
        self._cached = self._read()

    @property
    def config(self) -> HpkeConfig:
        """The configuration that is published now."""
        return self.current().config

    def current(self) -> HpkeKeys:
        """Return the present keys.

        This may read the database, so do not call it within a transaction.
        """
        if self._clock() >= self._cached.read_at + REFRESH_SECONDS:
            self._cached = self._read()
        return self._cached

    def signed(self) -> bytes:
        """Return the signed present configuration, valid from a day ago and for a week."""
        keys, now = self.current(), self._clock()
        document = ConfigDocument(
            version=VERSION,
            role=self._aggregator.settings.role,
            epoch=keys.epoch,
            config=keys.config.encode().hex(),
            not_before=now - EARLY_SECONDS,
            not_after=now + VALID_SECONDS,
        )
        return document.signed(self._aggregator.keys.signer)

    @property
    def _min_epoch(self) -> int:
        """Minutes since 1970, so that epochs keep rising even after a lost database."""
        return self._clock() // 60

    def rotate(self) -> HpkeConfig:
        """Publish a new key; the old one opens shares for twice the cache time."""
        with self._store.transaction() as tx:
            used = {config_id for config_id, _, _ in tx.hpke_keys.all()}
            free = [number for number in range(CONFIG_IDS) if number not in used]
            if not free:
                raise InvalidInput(
                    "key",
                    f"all {CONFIG_IDS} key ids are in use",
                    "wait until a key has expired and run: "
                    "tactful-aggregator collect-garbage --dir DIR",
                )
            tx.hpke_keys.retire(self._clock() + 2 * CACHE_SECONDS)
            tx.hpke_keys.add(free[0], secrets.token_bytes(32), self._min_epoch)
        self._cached = self._read()
        return self._cached.config

    def _read(self) -> HpkeKeys:
        now = self._clock()
        with self._store.transaction() as tx:
            keys, epoch = tx.hpke_keys.all(), tx.hpke_keys.current_epoch()
        openers = {
            config_id: X25519PrivateKey.from_private_bytes(private)
            for config_id, private, _ in keys
        }
        accepted = {
            config_id
            for config_id, _, expires in keys
            if expires is None or now < expires
        }
        newest = next(config_id for config_id, _, expires in keys if expires is None)
        public_key = openers[newest].public_key().public_bytes_raw()
        config = HpkeConfig(newest, public_key)
        return HpkeKeys(config, epoch, accepted, openers, now)
