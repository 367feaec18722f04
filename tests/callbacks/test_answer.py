"""What comes back, line by line: what is an answer, what of it is kept, and where reading ends."""

import pytest

from homing.callbacks.answer import Answer
from homing.callbacks.limits import Limits

STOP = -1


def read(*lines: bytes, limits: Limits | None = None) -> Answer:
    """Return an answer after these lines, none of which ended it."""
    answer = Answer(limits or Limits())
    assert [answer.header(line) for line in lines] == [None] * len(lines)
    return answer


def is_whole(answer: Answer) -> bool:
    return answer.has_whole_head


def test_nothing_yet_is_no_answer() -> None:
    """Before the first line nothing has begun and nothing is whole."""
    answer = Answer(Limits())
    assert (answer.has_begun, answer.has_whole_head, answer.kept, answer.excess) == (False, False, b"", "")


@pytest.mark.parametrize("empty", [b"\r\n", b"\n"])
def test_a_head_is_whole_with_its_empty_line(empty: bytes) -> None:
    """Not before it, and whatever headers there are."""
    answer = read(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n")
    assert answer.has_begun
    assert not is_whole(answer)
    assert answer.header(empty) is None
    assert is_whole(answer)


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200\r\n", b"HTTP/1.0 500 No\r\n", b"HTTP/1.1 299 \n", b"HTTP/1.1 204\n"]
)
def test_a_status_line_is_read_as_written(line: bytes) -> None:
    """With or without a reason, with or without a carriage return."""
    assert read(line, b"\r\n").has_whole_head


@pytest.mark.parametrize(
    "line",
    [
        b"http/1.1 500 No\r\n",
        b"Http/1.1 200 OK\r\n",
        b"HTTP/2.0 500 No\r\n",
        b"HTTP/1.2 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1\t200 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 000 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n",
        b" HTTP/1.1 200 OK\r\n",
        b"x: y\r\n",
        b"\r\n",
    ],
)
def test_anything_else_is_no_status_line(line: bytes) -> None:
    """What libcurl might take for a 200 ends the transfer."""
    answer = Answer(Limits())
    assert answer.header(line) == STOP
    assert answer.excess == "no status line"
    assert answer.has_begun
    assert not is_whole(answer)


@pytest.mark.parametrize("line", [b"\rx\r\n", b"\r", b"\r\r\n", b"\r\n\r\n"])
def test_a_bare_carriage_return_ends_no_head(line: bytes) -> None:
    """libcurl takes every line that begins with one for the empty line."""
    answer = read(b"HTTP/1.1 200 OK\r\n")
    assert answer.header(line) == STOP
    assert answer.excess == "a bare carriage return"
    assert not is_whole(answer)


def test_retry_after_and_location_are_found_whatever_their_case() -> None:
    """Values come without the spaces around them, and other headers are not looked at."""
    answer = read(
        b"HTTP/1.1 503 No\r\n", b"RETRY-AFTER:\t 17 \r\n", b"location: /x\r\n", b"Retry-After-x: 1\r\n",
        b"Locations: /y\r\n", b"referer: z\r\n", b"\r\n",
    )  # fmt: skip
    assert (answer.retry_after, answer.location) == ("17", "/x")


def test_every_retry_after_is_told() -> None:
    """One a line, in their order; of several Locations the last."""
    answer = read(
        b"HTTP/1.1 503 No\r\n", b"Retry-After: 5\r\n", b"Location: /a\r\n", b"Retry-After: \xe4\r\n", b"Location: /b\r\n"
    )  # fmt: skip
    assert (answer.retry_after, answer.location) == ("5\nä", "/b")


def test_a_location_is_kept_up_to_a_length() -> None:
    """A redirect is only told about; two KiB of it are enough."""
    location = read(b"HTTP/1.1 302 Found\r\n", b"Location: " + b"x" * 9_000 + b"\r\n").location
    assert location == "x" * 2_048


def test_what_hints_and_trailers_say_is_not_the_answers() -> None:
    """Neither a 1xx before it nor a trailer behind it makes the receiver wait."""
    answer = read(b"HTTP/1.1 103 Hints\r\n", b"Retry-After: 9\r\n", b"Location: /x\r\n", b"\r\n")
    assert not is_whole(answer)
    assert (answer.retry_after, answer.location) == (None, None)
    for line in (b"HTTP/1.1 503 No\r\n", b"\r\n", b"Retry-After: 7\r\n", b"HTTP/1.1 200 OK\r\n", b"\r\n"):
        assert answer.header(line) is None
    assert is_whole(answer)
    assert answer.retry_after is None


def test_so_many_hints_and_no_more() -> None:
    """Eight may come before the answer; the ninth ends it."""
    hint = (b"HTTP/1.1 102 Wait\r\n", b"\r\n")
    assert read(*hint * 8, b"HTTP/1.1 200 OK\r\n", b"\r\n").has_whole_head
    answer = read(*hint * 8)
    assert answer.header(hint[0]) == STOP
    assert answer.excess == "informational answers"


def test_another_protocol_is_not_spoken() -> None:
    """A 101 ends it: nobody asked for one."""
    answer = Answer(Limits())
    assert answer.header(b"HTTP/1.1 101 Switching\r\n") == STOP
    assert answer.excess == "another protocol"


def test_lines_and_bytes_of_headers_are_counted_over_all_heads_and_trailers() -> None:
    """The limit is of all that is no body."""
    for limits in (Limits(header_lines=6), Limits(header_bytes=71)):
        answer = read(
            b"HTTP/1.1 103 Hints\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n", b"\r\n", limits=limits
        )
        assert answer.header(b"x: 45678901234567890\r\n"[: 71 - 47]) is None
        assert answer.header(b"x: y\r\n") == STOP
        assert answer.excess == "headers"


def test_the_beginning_of_a_body_is_kept_and_the_rest_counted() -> None:
    """A KiB is kept, 64 KiB are read, and a byte more ends the transfer without a fault of its head."""
    answer = read(b"HTTP/1.1 200 OK\r\n", b"\r\n")
    assert answer.body(b"a" * 1_000) is None
    assert answer.body(b"b" * 1_000) is None
    assert answer.kept == b"a" * 1_000 + b"b" * 24
    assert answer.body(b"c" * 63_536) is None
    too_long = answer.is_too_long
    assert answer.body(b"d") == STOP
    assert (too_long, answer.is_too_long) == (False, True)
    assert (answer.kept, answer.excess, answer.has_whole_head) == (b"a" * 1_000 + b"b" * 24, "", True)


def test_one_answer_leaves_nothing_to_the_next() -> None:
    """After `clear` everything is as new."""
    answer = read(b"HTTP/1.1 503 No\r\n", b"Retry-After: 5\r\n", b"Location: /\r\n", b"\r\n")
    answer.body(b"x" * 70_000)
    answer.header(b"x" * 20_000)
    answer.clear()
    new = Answer(Limits())
    for name in Answer.__slots__:
        if name != "_limits":
            assert getattr(answer, name) == getattr(new, name), name
