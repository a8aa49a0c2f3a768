"""Keep requests out of private networks (server-side request forgery), on the address really connected to.

A name is resolved once, every address of the answer is judged, and the connection goes to one that was
judged: what the name means a moment later (DNS rebinding) no longer matters. TLS and the Host header keep the
name. As each redirect opens a connection like any other, it is judged like any other.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from qicore.base import QiError

__all__ = ["NetworkGuard", "PrivateNetworkError", "private_network"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The IANA registries of special-purpose addresses, what is not for everybody; not `is_global` of the standard
# library, whose answers differ between its patch releases.
_PRIVATE_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; also where a cloud keeps its metadata (100.100.100.200)
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's platform address, which every virtual machine reaches
            "169.254.0.0/16",  # link-local; the metadata service of most clouds (169.254.169.254)
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Only 2000::/3 is given out to the public; these lie within it and are for something else.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_PRIVATE_V6: Final = tuple(
    map(
        IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")
    )  # protocol assignments with Teredo, examples
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


class PrivateNetworkError(OSError):
    """The guard refused a connection. An OSError, so that an engine takes it for a failed connect."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is in a private network")
        self.host = host


def private_network(host: str) -> QiError:
    """Return PRIVATE_NETWORK [PERMISSION]; the address stays untold, for it would map the network."""
    return QiError.permission(
        "PRIVATE_NETWORK", f"{host} is in a private network, where requests may not go", host=host
    )


@dataclass(frozen=True, slots=True)
class NetworkGuard:
    """Which addresses a client may connect to: public ones, and those in the networks of `allowed`.

    >>> guard = NetworkGuard(("10.1.0.0/16",))
    >>> [guard.permits(address) for address in ("10.1.2.3", "10.2.2.3", "::ffff:127.0.0.1", "1.1.1.1")]
    [True, False, False, True]
    """

    allowed: tuple[str, ...] = ()
    """Networks in CIDR notation; a text that is none is a ValueError."""
    _networks: tuple[Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_networks", tuple(ipaddress.ip_network(text) for text in self.allowed))

    def permits(self, address: str) -> bool:
        """Tell whether this numeric address may be connected to; what is no address may not."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        forms = _forms(parsed)
        if any(form in network for form in forms for network in self._networks):
            return True
        return not any(map(_is_private, forms))

    def admit(self, address: str) -> None:
        """Raise PrivateNetworkError unless this numeric address is permitted."""
        if not self.permits(address):
            raise PrivateNetworkError(address)

    def check(self, host: str, addresses: Iterable[str]) -> None:
        """Raise PrivateNetworkError unless all the addresses that a name resolved to are permitted.

        One private address among public ones is enough: an honest name has no such answer.
        """
        if not all(map(self.permits, addresses)):
            raise PrivateNetworkError(host)

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, all of them permitted; blocks.

        The system's resolver also reads the other spellings of an address: 127.1, 0x7f000001, 2130706433.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self.check(host, addresses)
        return addresses


def _forms(address: Address) -> tuple[Address, ...]:
    """Return the address that packets would really go to; for a tunnel, its own and the one inside."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        return (IPv4Address(number & 0xFFFFFFFF),)
    if address in _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFFFFFF),)
    if (number >> 32 & 0xFFFFFFFF) in _ISATAP:
        return (address, IPv4Address(number & 0xFFFFFFFF))
    return (address,)


def _is_private(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _PRIVATE_V4)
    return address not in _PUBLIC_V6 or any(address in network for network in _PRIVATE_V6)
