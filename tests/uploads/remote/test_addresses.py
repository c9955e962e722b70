"""Public addresses, compared with IANA's registries of special addresses.

https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry; and the
registries of multicast, of reserved IPv6 space, and of withdrawn prefixes.
"""

import ipaddress

import pytest

from gifster.uploads.remote import downloader as remote

#: Networks, and the documents that made them special.
SPECIAL = {
    "0.0.0.0/8": "RFC 791, this network",
    "10.0.0.0/8": "RFC 1918, private",
    "100.64.0.0/10": "RFC 6598, shared with a provider's customers",
    "127.0.0.0/8": "RFC 1122, loopback",
    "169.254.0.0/16": "RFC 3927, link-local; metadata of clouds",
    "172.16.0.0/12": "RFC 1918, private",
    "192.0.0.0/24": "RFC 6890, protocol assignments",
    "192.0.0.0/29": "RFC 7335, service continuity",
    "192.0.0.9/32": "RFC 7723, port control anycast: one's own router",
    "192.0.0.10/32": "RFC 8155, TURN anycast",
    "192.0.0.170/31": "RFC 7050, NAT64 discovery",
    "192.0.2.0/24": "RFC 5737, documentation",
    "192.31.196.0/24": "RFC 7535, AS112",
    "192.52.193.0/24": "RFC 7450, AMT",
    "192.88.99.0/24": "RFC 7526, 6to4 relay anycast",
    "192.168.0.0/16": "RFC 1918, private",
    "192.175.48.0/24": "RFC 7534, AS112",
    "198.18.0.0/15": "RFC 2544, benchmarking",
    "198.51.100.0/24": "RFC 5737, documentation",
    "203.0.113.0/24": "RFC 5737, documentation",
    "224.0.0.0/4": "RFC 5771, multicast",
    "240.0.0.0/4": "RFC 1112, reserved",
    "255.255.255.255/32": "RFC 8190, limited broadcast",
    "::/128": "RFC 4291, unspecified",
    "::1/128": "RFC 4291, loopback",
    "::/96": "RFC 4291, IPv4-compatible",
    "::ffff:0:0:0/96": "RFC 2765, IPv4-translated",
    "64:ff9b:1::/48": "RFC 8215, NAT64 within a network",
    "100::/64": "RFC 6666, discard",
    "100:0:0:1::/64": "RFC 9780, dummy prefix",
    "2001::/23": "RFC 2928, protocol assignments",
    "2001::/32": "RFC 4380, Teredo",
    "2001:1::1/128": "RFC 7723, port control anycast",
    "2001:2::/48": "RFC 5180, benchmarking",
    "2001:3::/32": "RFC 7450, AMT",
    "2001:4:112::/48": "RFC 7535, AS112",
    "2001:10::/28": "RFC 4843, ORCHID",
    "2001:20::/28": "RFC 7343, ORCHIDv2",
    "2001:30::/28": "RFC 9374, drones",
    "2001:db8::/32": "RFC 3849, documentation",
    "2002::/16": "RFC 3056, 6to4",
    "2620:4f:8000::/48": "RFC 7534, AS112",
    "3ffe::/16": "RFC 3701, 6bone",
    "3fff::/20": "RFC 9637, documentation",
    "5f00::/16": "RFC 9602, segment routing",
    "fc00::/7": "RFC 4193, unique local",
    "fe80::/10": "RFC 4291, link-local",
    "fec0::/10": "RFC 3879, site-local",
    "ff00::/8": "RFC 4291, multicast",
    "4000::/3": "RFC 4291, not assigned",
    "200::/7": "RFC 4048, withdrawn",
}


def is_public(address: str) -> bool:
    return remote._public(ipaddress.ip_address(address))


@pytest.mark.parametrize("special", SPECIAL)
def test_special_addresses_are_not_public(special: str):
    network = ipaddress.ip_network(special)
    middle = network[network.num_addresses // 2]

    for address in (network[0], middle, network[-1]):
        assert not is_public(str(address)), address


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255",
     "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.88.98.255", "198.17.255.255",
     "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::", "2001:db7:ffff::", "2001:db9::",
     "2003::1", "2606:4700:4700::1111", "2a00:1450:4001::2003", "3fff:1000::", "3ffd::1",
     "2620:4f:7fff::1"],
)  # fmt: skip
def test_their_neighbours_are_public(address: str):
    assert is_public(address)


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
@pytest.mark.parametrize("outer", ["::ffff:{}", "64:ff9b::{}", "::{}", "::ffff:0:{}",
                                   "2606:4700::5efe:{}", "2606:4700::200:5efe:{}",
                                   "2606:4700::300:5efe:{}", "64:ff9b:1::{}"])  # fmt: skip
def test_a_private_address_in_another_one_is_not_public(outer: str, inner: str):
    assert not is_public(outer.format(inner))


def test_only_translators_may_contain_a_public_address():
    # NAT64 is how a host without IPv4 reaches all others
    assert is_public("64:ff9b::93.184.216.34")
    assert is_public("::ffff:93.184.216.34")
    # Tunnels lead to whoever runs the other end, whatever address that is
    assert not is_public("2002:5db8:d822::1")
    assert not is_public("2606:4700::5efe:93.184.216.34")


def test_teredo_is_never_public():
    # Given the server 93.184.216.34, and the client 127.0.0.1 (stored inverted)
    assert not is_public("2001:0:5db8:d822:0:ffff:80ff:fffe")
