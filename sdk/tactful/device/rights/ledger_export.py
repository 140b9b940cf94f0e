"""The ledger as an auditor gets it: every entry, what left, and a signature over all of it."""

from __future__ import annotations

import base64
import json

from tactful.device.state.device_state import DeviceState
from tactful.device.vault import Vault
from tactful.privacy.mechanism import written

SIGNED_AS = b"tactful-1 ledger"


def evidence(vault: Vault, memory: DeviceState) -> dict[str, object]:
    """The ledger, disclosures and adopted model as plain values, signed; nothing of the person.

    The signing key is made at the first export and stays in the vault.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    document = json.dumps(
        _document(vault, memory), sort_keys=True, separators=(",", ":")
    )
    signer = Ed25519PrivateKey.from_private_bytes(_key(vault))
    return {
        "document": document,
        "public_key": base64.b64encode(signer.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(
            signer.sign(SIGNED_AS + document.encode())
        ).decode(),
    }


def _document(vault: Vault, memory: DeviceState) -> dict[str, object]:
    ledger = memory.ledger
    return {
        "schema": 2,
        "ledger": vault.id,
        "cap_rho": written(ledger.cap),
        "purpose_caps": {purpose: written(cap) for purpose, cap in ledger.caps.items()},
        "zcdp_cap_rho": written(
            ledger.cap if ledger.zcdp_cap is None else ledger.zcdp_cap
        ),
        "zcdp_purpose_caps": {
            name: written(cap) for name, cap in ledger.zcdp_caps.items()
        },
        "entries": list(ledger.lines),
        "head": ledger.head,
        "disclosures": [
            {**one.body(), "accepted": one.accepted, "dropped": one.dropped}
            for one in memory.disclosures.values()
        ],
        "adopted": None if memory.adoption is None else memory.adoption.release,
        "newest": memory.newest_version,
        "checkpoint": memory.checkpoint,
        "restored": memory.restored_ms is not None,
    }


def _key(vault: Vault) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    with vault.transaction(durable=True) as writing:
        kept = next(writing.read(kinds=["ledger_key"]), None)
        if kept is not None:
            return base64.b64decode(str(kept.body["key"]))
        fresh = Ed25519PrivateKey.generate().private_bytes_raw()
        writing.append("ledger_key", {"key": base64.b64encode(fresh).decode()})
        return fresh
