import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.http.guard import NetworkGuard, PrivateNetworkError

GUARD = NetworkGuard()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "198.18.0.1", "192.0.0.192"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *(
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::127.0.0.1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1.1.1.1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:1::1"),
        *("2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1", "100::1", "5f00::1", "3fff::1"),
        *("localhost", "", "127.1", "0x7f000001", "2130706433", "1.1.1.1.1"),
    ],
)
def test_private_addresses_and_texts_that_are_none_are_refused(address: str) -> None:
    assert not GUARD.permits(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "172.32.0.1", "172.15.255.255", "100.128.0.1", "11.0.0.1", "192.169.0.1"),
        *("2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:0101:0101::1", "2a00:1450::1"),
    ],
)
def test_public_addresses_are_permitted(address: str) -> None:
    assert GUARD.permits(address)


def test_an_allowed_network_is_permitted_in_every_form() -> None:
    guard = NetworkGuard(("10.1.0.0/16", "fd00::/8"))
    assert guard.permits("10.1.255.1")
    assert guard.permits("::ffff:10.1.0.1")
    assert guard.permits("fd12::1")
    assert not guard.permits("10.2.0.1")
    assert not guard.permits("127.0.0.1")
    with pytest.raises(ValueError, match=r"10\.1\.0\.1/16"):
        NetworkGuard(("10.1.0.1/16",))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_inside(address: ipaddress.IPv4Address) -> None:
    expected = GUARD.permits(str(address))
    assert GUARD.permits(f"::ffff:{address}") == expected
    assert GUARD.permits(f"64:ff9b::{address}") == expected


@given(st.ip_addresses())
def test_what_the_standard_library_takes_for_private_is_refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_link_local or address.is_loopback or address.is_multicast:
        # Newer versions take all of 6to4 for private; what counts is where it leads.
        inside = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        assert not GUARD.permits(str(address)) or (inside is not None and GUARD.permits(str(inside)))


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "017700000001", "0", "localhost"])
def test_other_spellings_are_resolved_before_they_are_judged(host: str) -> None:
    with pytest.raises(PrivateNetworkError):
        GUARD.resolve(host, 80)


def test_one_private_address_among_public_ones_is_enough() -> None:
    GUARD.check("h", ["1.1.1.1", "8.8.8.8"])
    with pytest.raises(PrivateNetworkError):
        GUARD.check("h", ["1.1.1.1", "10.0.0.1"])


def test_a_resolver_that_fails_says_so() -> None:
    with pytest.raises(socket.gaierror):
        NetworkGuard().resolve("name.invalid", 80)
