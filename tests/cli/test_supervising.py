"""What several processes at one address rest on, piece by piece; the whole is in tests/acceptance/test_processes.py."""

import socket
from contextlib import closing
from itertools import islice

import pytest

from homing.cli.supervising import AGAIN_S, delays_s
from homing.errors import AddressInUse
from homing.server import bind, neighbour, reserve


def test_one_that_ends_again_and_again_is_left_alone_ever_longer() -> None:
    """Up to the last delay, which stays."""
    first = list(islice(delays_s(), len(AGAIN_S) + 2))
    assert first == sorted(first)
    assert first[-3:] == [AGAIN_S[-1]] * 3


@pytest.mark.parametrize(
    ("listen", "places", "there"),
    [
        ("127.0.0.1:9480", 0, "127.0.0.1:9480"),
        ("[::1]:9480", 2, "[::1]:9482"),
        ("localhost:0", 2, "localhost:0"),
    ],
)
def test_each_further_process_has_the_next_port(listen: str, places: int, there: str) -> None:
    """Any free one stays any free one."""
    assert neighbour(listen, places) == there


def test_an_address_is_shared_by_those_it_is_reserved_for_and_nobody_else() -> None:
    """Whoever would take it alone finds it in use, and so does a second supervisor once somebody listens."""
    reserved, listen = reserve("127.0.0.1:0")
    with (
        closing(reserved),
        closing(bind(listen, is_shared=True)) as one,
        closing(bind(listen, is_shared=True)) as two,
    ):
        assert not listen.endswith(":0")
        assert one.getsockname() == two.getsockname() == reserved.getsockname()
        one.listen()
        with pytest.raises(AddressInUse):
            reserve(listen)
        with pytest.raises(AddressInUse):
            bind(listen)
        with socket.create_connection(one.getsockname()) as link:
            assert link.getpeername() == one.getsockname()


def test_a_shared_address_serves_ipv6_too() -> None:
    """The brackets stay where they belong."""
    reserved, listen = reserve("[::1]:0")
    with closing(reserved):
        assert listen == f"[::1]:{reserved.getsockname()[1]}"
