"""Engine and oracle agree on 20,000 random lives, with clocks, zones and rules that change."""

import pytest
from cap_schedules import live

PARTS, LIVES = 20, 1000


@pytest.mark.parametrize("part", range(PARTS))
def test_the_engine_answers_as_the_slow_recount_does(part: int):
    for seed in range(part * LIVES, (part + 1) * LIVES):
        live(seed)
