"""Let these tests import the helpers of the frequency cap tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "device" / "caps"))
