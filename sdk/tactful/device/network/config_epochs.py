"""The newest HPKE config that this device accepted from each aggregator.

An older config is refused, because its private key may have leaked. A second config
under one epoch is refused too: an aggregator could tell devices apart by the key that
they seal to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device.state.device_state import SETTING_KINDS, DeviceState
from tactful.device.vault import Vault
from tactful.errors import HpkeConfigRejected

if TYPE_CHECKING:
    from tactful.protocol.dap.signed_hpke_config import ConfigDocument


def accept(
    vault: Vault, state: DeviceState, signing_key: str, document: ConfigDocument
) -> None:
    """Record `document` as the newest config of the aggregator with `signing_key`.

    The key is in base64. Raise HpkeConfigRejected for a lower epoch, and for another
    config under the same epoch.
    """
    offered = document.epoch, document.config_sha256
    if state.config_epochs.get(signing_key) == offered:
        return
    with vault.transaction(durable=True) as transaction:
        newer_records = transaction.read(state.position, SETTING_KINDS, tastes=False)
        accepted = state.after(newer_records).config_epochs.get(signing_key)
        if accepted == offered:
            return
        if accepted is not None:
            _require_newer(document, *accepted)
        body = {
            "key": signing_key,
            "epoch": document.epoch,
            "sha256": document.config_sha256,
        }
        transaction.append("config_epoch", body)


def _require_newer(document: ConfigDocument, epoch: int, sha256: str) -> None:
    if document.epoch < epoch:
        raise HpkeConfigRejected(
            f"hpke_config.epoch: {document.epoch} is below {epoch}, which this device "
            f"accepted before; ask the {document.role}'s operator to serve its newest "
            "config"
        )
    if document.epoch == epoch and document.config_sha256 != sha256:
        raise HpkeConfigRejected(
            "hpke_config.config: it differs from the config that this device accepted "
            f"under epoch {epoch}; ask the {document.role}'s operator to rotate the key"
        )
