"""The report highlights the released model and states its source."""

import re

from tactful_lab.demo import figures as demo_figures
from tactful_lab.demo.report_page import PersonPage, Repetition, ReportContent, render

PAGE = PersonPage(liked=[], before=[], after=[], withheld="", why_not="", sent=[])
NO_REPEATS = Repetition(unwanted_rate=0.0, times_seen={"once": 1.0}, cap_violations=0)


def test_the_report_highlights_the_released_model_and_states_its_source(
    monkeypatch,
) -> None:
    highlighted: list[str] = []

    def bars(values: dict[str, float], *, ours: str, label: str, form: str = "") -> str:
        highlighted.append(ours)
        return ""

    monkeypatch.setattr("tactful_lab.demo.report_page.plots.bars", bars)
    name = demo_figures.NAMES["wire"]
    figures = {
        "wire_devices": 1000,
        "delta": 1e-6,
        "unit_of_privacy": "",
        "adjacency": "",
    }
    page = render(
        ReportContent(
            figures=figures,
            utility={name: (0.3, 0.29), demo_figures.NAMES["words"]: (0.2, 0.2)},
            ours=name,
            rounds=[],
            cap_epsilon=3.0,
            uncapped=NO_REPEATS,
            capped=NO_REPEATS,
            sessions="",
            person=PAGE,
            tiles={},
            command="",
            assumptions=(),
        )
    )

    text = re.sub(r"\s+", " ", page)
    assert highlighted[0] == name
    assert f"“{name}”, is the model that leader and helper released" in text
    assert "at least 1,000 devices reported to them in each round" in text
    assert "what the pair really released" not in text
