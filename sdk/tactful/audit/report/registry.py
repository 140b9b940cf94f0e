"""Entry for the registry of DP deployments (OpenDP, NIST; tier 3)."""

from __future__ import annotations

from tactful.audit.run import Audit
from tactful.audit.trust_assumptions import AGAINST


def entry(audit: Audit) -> dict[str, object]:
    """Return the entry; each statement has a rationale and the ids of its checks."""
    case = audit.case
    claim, tasks = case.claim, case.tasks
    label = case.placement.label(min(task.honest for task in tasks))
    return {
        "schema": "dp-deployments-registry, tier 3",
        "deployment": {
            "name": claim.model,
            "purpose": "recommendations ranked on the device",
        },
        "privacy": {
            "flavour": _stated(
                "zero-concentrated DP, converted to approximate DP", "B2", "B3"
            ),
            "unit": _stated(f"{claim.unit}, for the lifetime of its ledger", "A1"),
            "adjacency": _stated(claim.adjacency, "A1"),
            "epsilon": _stated(claim.epsilon, "A3", "B2"),
            "delta": _stated(claim.delta, "A5"),
            "rho": _stated(claim.rho, "B3"),
            "composition": _stated(
                f"{len(tasks)} adaptive releases; rho is added", "B3", "F4"
            ),
        },
        "trust_model": _stated(AGAINST[case.placement], "A1", "I"),
        "mechanism": {
            "placement": _stated(label, "A1", "A3"),
            "family": _stated(sorted({task.family for task in tasks}), "C2", "C3"),
            "bound": _stated([task.release.norm_bound for task in tasks], "A2", "C1"),
            "sigma2": _stated([task.sigma2 for task in tasks], "A3", "C2"),
            "batch": _stated(
                min(task.min_batch_size for task in tasks), "A7", "G4", "H1"
            ),
        },
        "data_domain": _stated("item numbers of a public catalog", "A8", "H5"),
        "unprotected": _stated("the number of reports, and the catalog", "A7"),
        "post_processing": _stated("the model is a function of noisy sums", "A7", "G4"),
        "implementation": _stated(
            "integers throughout; table sampler", "C3", "C4", "A9"
        ),
        "side_channels": _stated(
            "report size and sampling time are constant", "C5", "E2"
        ),
        "unknown": [
            "whether the operators are independent in fact",
            "whether the installed apps run the published code",
            "how many devices one person has",
        ],
        "checks": {finding.id: finding.verdict for finding in audit.findings},
    }


def _stated(value: object, *checks: str) -> dict[str, object]:
    return {
        "value": value,
        "rationale": "docs/privacy.md",
        "checks": list(checks),
    }
