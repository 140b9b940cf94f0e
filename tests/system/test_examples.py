"""The examples run as they stand, for whoever copies them."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest


def run(root: Path, name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(root / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def screens(told: str) -> dict[str, list[str]]:
    """What each headline of the feed was followed by."""
    found: dict[str, list[str]] = {}
    headline = ""
    for line in told.splitlines():
        if line.startswith("  "):
            found[headline].append(line.strip())
        else:
            headline = line.split(":")[0]
            found[headline] = []
    return found


def test_the_feed_learns_says_why_and_does_not_repeat_itself_after_a_restart(
    root: Path,
) -> None:
    told = run(root, "feed.py")
    seen = screens(told)

    assert all("nothing is known" in line for line in seen["Nothing is known yet"])
    assert any(
        "because you liked" in line for line in seen["One thing bought, one liked"]
    )
    assert "0 of them were on the last screen" in seen["After a restart"]
    titles = [
        line.split(" - ")[0]
        for lines in seen.values()
        for line in lines
        if " - " in line
    ]
    assert len(titles) == len(set(titles)) == 16
    assert re.search(
        r"Why not .*\? You have seen it often lately; it rests until", told
    )


def test_what_is_wanted_less_is_gone_from_the_next_screen(root: Path) -> None:
    """The category that is named leads the screen before it, and is not on the one after."""
    feed = root / "examples" / "feed.py"
    script = (
        f"import runpy, tempfile, pathlib\n"
        f"feed = runpy.run_path({str(feed)!r})\n"
        f"feed['main'](pathlib.Path(tempfile.mkdtemp()))\n"
        f"print({{item.title: item.category for item in feed['products']()}})"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    ).stdout
    *lines, catalog = told.splitlines()
    category = ast.literal_eval(catalog)
    seen = screens("\n".join(lines))
    [unwanted] = [name for name in seen if name.startswith("Less of ")]

    after = {category[line.split(" - ")[0]] for line in seen[unwanted]}
    assert (
        unwanted
        == f"Less of {category[seen['After a restart'][0].split(' - ')[0]]}, please"
    )
    assert unwanted.removeprefix("Less of ").removesuffix(", please") not in after


def test_of_two_processes_one_sends_and_the_other_is_told_when(root: Path) -> None:
    lines = sorted(line.split(":")[0] for line in run(root, "message.py").splitlines())

    assert lines == ["delivered", "denied"]


def test_a_message_goes_out_once_a_day_however_often_it_is_tried(
    root: Path, tmp_path: Path
) -> None:
    told = [run(root, "message.py", str(tmp_path)) for _ in range(3)]

    assert [one.split(":")[0] for one in told] == [
        "delivered",
        "denied",
        "denied",
    ]


def test_an_experiment_is_read_from_sums_alone(root: Path) -> None:
    first, _, document = run(root, "ab_test.py").split("\n", 2)
    read = json.loads(document)

    assert read["people"] == 120
    drawn = int(first.split()[0])
    assert abs(read["arms"]["diverse"] - drawn) < 25
    [reading] = read["readings"]
    assert reading["interval"][0] < reading["difference"] < reading["interval"][1]
    assert read["epsilon"] == 3.0


@pytest.mark.parametrize("name", ["feed.py", "message.py", "ab_test.py"])
def test_an_example_is_short_enough_to_be_read(root: Path, name: str) -> None:
    assert len((root / "examples" / name).read_text().splitlines()) <= 100
