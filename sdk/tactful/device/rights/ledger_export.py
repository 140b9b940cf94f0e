"""The ledger as an auditor receives it: all entries and reports, with a signature."""

from __future__ import annotations

import base64
import json

from tactful.device.state.device_state import DeviceState
from tactful.device.vault import Vault
from tactful.privacy.mechanism import format_fraction

SIGNED_AS = b"tactful-1 ledger"  # separates this signature from all others


def evidence(vault: Vault, state: DeviceState) -> dict[str, object]:
    """Return ledger, disclosures and adopted model as signed plain values.

    They contain nothing personal. The signing key is made at the first export and never
    leaves the vault.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    document = json.dumps(
        _document(vault, state), sort_keys=True, separators=(",", ":")
    )
    signer = Ed25519PrivateKey.from_private_bytes(_signing_key(vault))
    public_key = signer.public_key().public_bytes_raw()
    signature = signer.sign(SIGNED_AS + document.encode())
    return {
        "document": document,
        "public_key": base64.b64encode(public_key).decode(),
        "signature": base64.b64encode(signature).decode(),
    }


def _document(vault: Vault, state: DeviceState) -> dict[str, object]:
    ledger = state.ledger
    zcdp_cap = ledger.cap if ledger.zcdp_cap is None else ledger.zcdp_cap
    disclosures = [
        {
            **disclosure.body(),
            "accepted": disclosure.accepted,
            "dropped": disclosure.dropped,
        }
        for disclosure in state.disclosures.values()
    ]
    return {
        "schema": 2,
        "ledger": vault.id,
        "cap_rho": format_fraction(ledger.cap),
        "purpose_caps": {
            name: format_fraction(cap) for name, cap in ledger.caps.items()
        },
        "zcdp_cap_rho": format_fraction(zcdp_cap),
        "zcdp_purpose_caps": {
            name: format_fraction(cap) for name, cap in ledger.zcdp_caps.items()
        },
        "entries": list(ledger.lines),
        "head": ledger.head,
        "disclosures": disclosures,
        "adopted": None if state.adoption is None else state.adoption.release,
        "newest": state.newest_version,
        "checkpoint": state.checkpoint,
        "restored": state.restored_ms is not None,
    }


def _signing_key(vault: Vault) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    with vault.transaction(durable=True) as transaction:
        record = next(transaction.read(kinds=["ledger_key"]), None)
        if record is not None:
            return base64.b64decode(str(record.body["key"]))
        new_key = Ed25519PrivateKey.generate().private_bytes_raw()
        body = {"key": base64.b64encode(new_key).decode()}
        transaction.append("ledger_key", body)
        return new_key
