"""Tells whether an address belongs to the public internet.

Python's `is_global` differs between patch releases, as each follows the registries of its time.
So this is a list of our own, after IANA's registries of special-purpose addresses (IPv4 and IPv6,
2025). Every entry counts as not public, even one that the whole internet can reach: those are
network services, which the local router may answer.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SPECIAL_IPV4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # RFC 791: this network
        "10.0.0.0/8",  # RFC 1918: private
        "100.64.0.0/10",  # RFC 6598: between a provider and its customers
        "127.0.0.0/8",  # RFC 1122: loopback
        "169.254.0.0/16",  # RFC 3927: link-local, and the metadata of cloud servers
        "172.16.0.0/12",  # RFC 1918: private
        "192.0.0.0/24",  # RFC 6890: protocol assignments
        "192.0.2.0/24",  # RFC 5737: documentation
        "192.31.196.0/24",  # RFC 7535: AS112
        "192.52.193.0/24",  # RFC 7450: AMT
        "192.88.99.0/24",  # RFC 7526: relays of 6to4
        "192.168.0.0/16",  # RFC 1918: private
        "192.175.48.0/24",  # RFC 7534: AS112
        "198.18.0.0/15",  # RFC 2544: benchmarks
        "198.51.100.0/24",  # RFC 5737: documentation
        "203.0.113.0/24",  # RFC 5737: documentation
        "224.0.0.0/3",  # RFC 5771: multicast; RFC 1112: reserved
    )
]
#: The only part of IPv6 from which global unicast addresses are given out (RFC 4291, 2.4).
_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # RFC 2928: protocol assignments; among them Teredo, ORCHID, AMT, benchmarks
        "2001:db8::/32",  # RFC 3849: documentation
        "2002::/16",  # RFC 3056: 6to4, a tunnel to any IPv4 address
        "2620:4f:8000::/48",  # RFC 7534: AS112
        "3ffe::/16",  # RFC 3701: the 6bone, given back
        "3fff::/20",  # RFC 9637: documentation
    )
]
#: The last 32 bits of these are the IPv4 address that a connection leads to: mapped addresses (RFC
#: 4291, 2.5.5.2), and NAT64 (RFC 6052), by which hosts without IPv4 reach those with it.
_EMBEDDING = [ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96")]


def is_public(address: Address) -> bool:
    """Whether anybody on the internet can reach an address."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if any(address in network for network in _EMBEDDING):
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if _is_isatap(address) or address not in _UNICAST:
        return False
    return not any(address in network for network in _SPECIAL_IPV6)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether an address is a tunnel to the IPv4 address at its end (RFC 5214, 6.1). It may be in
    any network, and two bits of its interface identifier may have either value."""
    return (int(address) >> 32) & 0xFCFF_FFFF == 0x0000_5EFE
