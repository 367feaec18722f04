"""docs/simulator.md says what the simulated world does: every name and promise is compared with it."""

from starlette.routing import Route
from tests.pages import coded, page, rows, section

from homing.cli.dev import RETRY_DELAYS_S
from homing.cli.times import span
from homing.clock import RealClock
from homing.simulator import api
from homing.simulator.answers import NAMED
from homing.simulator.carriers import CONDUCTS, NUMBERS
from homing.simulator.habits import HABITS
from homing.simulator.lives import LIVES, SHORTEST
from homing.simulator.stories import STORIES
from homing.simulator.world import PEOPLE, World


def test_simulator_tells_what_phones_do() -> None:
    """Every behaviour of a phone with its promise, and nobody else's."""
    told = {coded(row[:1])[0]: row[1] for row in rows(section(page("simulator"), "What phones do"))[1:]}
    assert told == {name: habit.promise for name, habit in HABITS.items()}


def test_simulator_tells_what_carriers_do() -> None:
    """Every number with its behaviour; every behaviour with its promise."""
    table = rows(section(page("simulator"), "What carriers do"))
    numbered = [row for row in table if row[0].startswith("+")]
    others = {coded(row[:1])[0]: row[1] for row in table if len(row) == 2 and row[0].startswith("`")}
    assert {row[0]: coded(row[1:2])[0] for row in numbered} == NUMBERS
    down = others.pop("down")
    promises = {coded(row[1:2])[0]: row[2] for row in numbered} | others
    assert promises == {name: conduct.promise for name, conduct in CONDUCTS.items()}
    assert down


def test_simulator_tells_what_receivers_do() -> None:
    """Every behaviour of a receiver with its promise."""
    table = rows(section(page("simulator"), "What receivers do"))[1:]
    told = {coded(row[:1])[0].partition(":")[0]: row[1] for row in table}
    assert told == {name: promise for name, (promise, _) in NAMED.items()}


def test_simulator_tells_how_each_status_is_brought_about() -> None:
    """The table of triggers holds the 18 in order, each with its life, how and how long; and who can do what."""
    lives, who = section(page("simulator"), "Triggers").split("With `to`")
    told = [(coded(row[:1])[0], coded(row[1:2]), row[2], row[3]) for row in rows(lives)[1:]]
    assert told == [
        (status, list(life.says), life.title, span(life.takes_ms / 1000)) for status, life in SHORTEST.items()
    ]
    able = {(habit, status) for row in rows(who)[1:] for habit in coded(row[:1]) for status in coded(row[1:])}
    assert able == {(habit, life.ends_in) for life in LIVES for habit in (life.habit, *life.others) if habit}


def test_simulator_tells_its_routes() -> None:
    """The table holds the paths and methods that the application serves."""
    told = {coded(row[:1])[0] for row in rows(section(page("simulator"), "`/sim/1`"))[1:]}
    served = {
        f"{method} {route.path}"
        for route in api.application(World(RealClock())).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert told == served


def test_simulator_tells_who_lives_in_dev() -> None:
    """People with their behaviours and numbers, the pauses between tries, and the number of the demo's lives."""
    text = page("simulator")
    table = rows(section(text, "`homing dev`"))[1:]
    assert [(row[0], coded(row[1:2])[0], row[2].lower(), row[3]) for row in table] == list(PEOPLE)
    assert (1, 3, 10, 10, 30, 30, *[60] * 5) == RETRY_DELAYS_S
    assert f"Plays {len(STORIES)} lives" in text
