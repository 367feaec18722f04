"""docs/lifecycle.md shows the tables as they are."""

from pathlib import Path

import pytest

from homing.contract.status import Status
from homing.lifecycle.diagram import BEGIN, END, drawing, fallback_diagram, message_diagram, refresh
from homing.lifecycle.tables import NOTES, Phase

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def test_the_page_is_what_the_tables_say() -> None:
    """Drawing the page again changes nothing; the page tells how to."""
    page = PAGE.read_text(encoding="utf-8")
    assert refresh(page) == page, "draw docs/lifecycle.md again: the command stands in it"
    assert "from homing.lifecycle.diagram import refresh" in page


def test_drawing_replaces_what_is_between_the_marks_only() -> None:
    """Prose before and after is the writer's."""
    page = refresh(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert drawing() in page
    assert "old" not in page


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    """Rather than written somewhere wrong."""
    with pytest.raises(ValueError, match="marks"):
        refresh(page)


def test_every_status_phase_and_note_is_drawn() -> None:
    """Nothing that can happen is missing from the page."""
    text = drawing()
    missing = {status for status in Status if status not in text}
    assert missing <= {Status.ENQUEUED, Status.IDENTIFIER_NOT_FOUND}
    assert all(f"| {note} |" in text for note in NOTES)
    assert all(phase.name.lower() in fallback_diagram() for phase in Phase)


def test_the_diagrams_are_mermaid() -> None:
    """One arrow a line: `state --> state : label`, or from the start."""
    for diagram in (message_diagram(), fallback_diagram()):
        head, *arrows = diagram.splitlines()
        assert head == "stateDiagram-v2"
        for arrow in arrows:
            start, middle, rest = arrow.strip().partition(" --> ")
            assert middle
            assert start == "[*]" or start.isidentifier()
            assert rest.partition(" : ")[0].isidentifier()
    assert "enqueued --> delivered : received / delivered" in message_diagram()
