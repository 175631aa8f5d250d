"""Connections to public addresses only, so that a stranger's URL cannot reach servers of a private network.

A name is resolved once, and the connection is made to the address that was checked: a name server that sends another
address the next time (DNS rebinding) gains nothing. Every redirect opens a connection, which is checked as well.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that contain an IPv4 address, which a gateway connects to."""


class PrivateAddressError(Exception):
    """A server is not on the public network. It has no `OSError` above it, which would be tried again."""


def is_public(address: str) -> bool:
    """Returns whether an IP address is on the public network, for one that contains another as well."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if found in _NAT64:
            return is_public(str(ip_address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast


def public_address(name: str, port: int) -> str:
    """Resolves a name once, and returns an address of it.

    Raises:
        PrivateAddressError: one of its addresses is not public.
        OSError: it cannot be resolved.
    """
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not all(is_public(address) for address in addresses):
        raise PrivateAddressError(f"{name} is not an address on the public network")
    return addresses[0]


@contextmanager
def pinned(connection: Any) -> Iterator[None]:
    """Makes a connection of urllib3 connect to the checked address; its certificate is that of the name.

    Raises:
        PrivateAddressError: one of its addresses is not public.
        OSError: it cannot be resolved.
    """
    name = connection._dns_host
    try:
        connection._dns_host = public_address(name.strip("[]"), connection.port)
        yield
    finally:
        connection._dns_host = name
