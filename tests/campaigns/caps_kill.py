"""Kill a showing process at random statements: `python tests/campaigns/caps_kill.py 500`."""

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "sdk" / "device" / "caps"))

from cap_crash import crimes, every_statement


def main(kills: int) -> int:
    """Kill `kills` times, print every show that was lost, return how many there were."""
    chance, found = random.Random(kills), []
    with tempfile.TemporaryDirectory() as folder:
        statements = sum(1 for _ in every_statement(Path(folder)))
        for number in range(kills):
            path = Path(folder) / f"kill-{number}.db"
            found += crimes(path, chance.randint(1, statements))[0]
            path.unlink(missing_ok=True)
    print(
        *found,
        f"{kills} kills among {statements} statements, {len(found)} crimes",
        sep="\n",
    )
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1])), 1))
