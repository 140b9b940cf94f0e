"""A pair asks for noise of each device's own, and hopes to be paid more than the lifetime cap."""

import math
from pathlib import Path

from sharing_device import sharing_town

from tactful.errors import BudgetExhausted

TITLE = "More than the lifetime cap by local noise"
CAP, DELTA, ROUNDS = 1.0, 1e-6, 6


def attack(folder: Path) -> str | None:
    """Let one device join trainings of epsilon 0.5 until it refuses, and price what it sent."""
    with sharing_town(folder) as town:
        rho, sent = 0.0, 0
        for number in range(ROUNDS):
            model = f"local-{number}"
            town.opened(model, epsilon=0.5, placement="local")
            with town.device(
                "phone", model, lifetime_epsilon=CAP, placement="local"
            ) as device:
                try:
                    device.sharing.contribute()
                    sent += 1
                except BudgetExhausted:
                    pass
                rho = float(device.status.ledger.spent)
                told = device.sharing.lifetime().whole.epsilon
    spent = _epsilon(rho)
    if sent == 0:
        raise RuntimeError("the device joined no round, so nothing was tried")
    if spent > CAP * (1 + 1e-6):
        return f"epsilon {spent:.3f} of a device whose lifetime cap is {CAP:g}"
    if told < spent * (1 - 1e-6):
        return f"a device that says it spent {told:.3f} of what is {spent:.3f}"
    return None


def _epsilon(rho: float) -> float:
    """Convert rho as is proved (Canonne, Kamath, Steinke 2020), by trying orders."""
    orders = (1 + 1.001**power for power in range(-5_000, 15_000))
    return min(
        order * rho
        + math.log1p(-1 / order)
        - (math.log(DELTA) + math.log(order)) / (order - 1)
        for order in orders
    )
