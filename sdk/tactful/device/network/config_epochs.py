"""The newest HPKE config that this device accepted from each aggregator; no older one comes back.

An old config may be one whose private key leaked, and a second config under one epoch would let
an aggregator tell devices apart by the key that they seal to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device.state.device_state import SETTLED, DeviceState
from tactful.device.vault import Vault
from tactful.errors import HpkeConfigRejected

if TYPE_CHECKING:
    from tactful.protocol.dap.signed_hpke_config import ConfigDocument


def accept(
    vault: Vault, memory: DeviceState, signing_key: str, document: ConfigDocument
) -> None:
    """Record `document` as the newest of the aggregator that `signing_key` (base64) stands for.

    Raise HpkeConfigRejected for a lower epoch, and for another config under the same epoch.
    """
    newest = (document.epoch, document.config_sha256)
    if memory.config_epochs.get(signing_key) == newest:
        return
    with vault.transaction(durable=True) as writing:
        current = memory.after(writing.read(memory.position, SETTLED, tastes=False))
        accepted = current.config_epochs.get(signing_key)
        if accepted == newest:
            return
        if accepted is not None:
            _require_newer(document, *accepted)
        body = {
            "key": signing_key,
            "epoch": document.epoch,
            "sha256": document.config_sha256,
        }
        writing.append("config_epoch", body)


def _require_newer(document: ConfigDocument, epoch: int, sha256: str) -> None:
    if document.epoch < epoch:
        raise HpkeConfigRejected(
            f"hpke_config.epoch: {document.epoch} is below {epoch}, which this device accepted "
            f"before; ask the {document.role}'s operator to serve its newest config"
        )
    if document.epoch == epoch and document.config_sha256 != sha256:
        raise HpkeConfigRejected(
            f"hpke_config.config: it is another than this device accepted under epoch {epoch}; "
            f"ask the {document.role}'s operator to rotate the key"
        )
