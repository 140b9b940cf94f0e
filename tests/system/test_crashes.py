"""kill -9 between any two statements or requests: nothing acknowledged is lost, nothing twice."""

import json
import signal
import subprocess
import sys
from pathlib import Path

KILLED = Path(__file__).with_name("killed.py")


def killed(*arguments: str | Path) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, str(KILLED), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nothing_acknowledged_is_lost_wherever_the_device_is_killed(
    tmp_path: Path,
) -> None:
    found = killed("observe", tmp_path)

    assert len(found) > 60
    assert [one for one in found if one["lost"] or not one["works"]] == []


def test_a_device_killed_anywhere_is_charged_once_and_counted_once(town) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    settings = town.folder / "pair.json"
    settings.write_text(json.dumps(town.pair.aggregators(town.model)))

    found = killed("contribute", town.folder, settings)

    assert len(found) > 60
    assert {one["charges"] for one in found} == {1}
    assert {one["charged"] for one in found} == {0, 1}
    # the run that lived shared once too; a report that was sent twice would be counted twice
    assert town.pair.refresh(town.model)["collected"] == [len(found) + 1]


def test_a_pair_killed_at_each_step_loses_no_report(town) -> None:
    devices = [town.device(number) for number in range(12)]
    town.pair.start(town.training())
    steps = 0
    while town.pair.refresh(town.model)["state"] != "released":
        for device in devices[:6]:
            device.sharing.contribute()
        town.pair.leader.restart(signal.SIGKILL)
        for device in devices:
            device.sharing.contribute()
        town.pair.helper.restart(signal.SIGKILL)
        steps += 1

    assert steps == 3
    assert {device.sharing.refresh().batch_size for device in devices} == {12}
