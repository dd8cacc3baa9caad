"""The guard: which hosts and addresses may be reached, and that the address checked is the one connected to."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import aiohttp
import pytest

from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.http import open_session, post
from riskladder.notify.resolver import PinnedResolver
from tests.unit.notify_support import LOOPBACK, Peer

ANYWHERE = Egress(["*.example.com", "hooks.example.org"], [])


@pytest.mark.parametrize(
    "host", ["a.example.com", "a.b.example.com", "A.Example.COM.", "hooks.example.org", "events.pagerduty.com"]
)
def test_listed_hosts_pass(host: str) -> None:
    ANYWHERE.check_host(host)


@pytest.mark.parametrize(
    "host",
    ["example.com", "badexample.com", "example.com.evil.net", "hooks.example.org.evil.net", "x.hooks.example.org"],
)
def test_other_hosts_are_refused_by_name_and_with_the_option(host: str) -> None:
    with pytest.raises(Undeliverable, match=r"--notify-host") as error:
        ANYWHERE.check_host(host)
    assert host in error.value.message
    assert error.value.permanent


@pytest.mark.parametrize("host", ["*", "*.", "https://example.com", "a/b", "*.*.com", "a b", ""])
def test_what_is_no_host_is_no_setting(host: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        Egress([host], [])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example.com/",
        "file:///etc/passwd",
        "https://user:secret@a.example.com/",
        "https://user@a.example.com/",
        "https://@evil.net/",
        "https://a.example.com@evil.net/",
        "https:///x",
        "http://[::1",
        "gopher://a.example.com",
        "//a.example.com",
        "http://a.example.com.evil.net/",
        "http://evil.net#a.example.com",
        "http://evil.net?.example.com",
        "http://evil.net\\.example.com/",
    ],
)
def test_refused_urls_are_not_quoted(url: str) -> None:
    with pytest.raises(Undeliverable) as error:
        ANYWHERE.check_url(url)
    assert error.value.permanent
    assert "secret" not in error.value.message


PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",  # noqa: S104
    "192.0.0.192", "192.168.1.1", "198.18.0.1", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "168.63.129.16", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:a00:1::", "2002:7f00:1::1", "2001:0:a00:1::", "2001:db8::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not ANYWHERE.permits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert ANYWHERE.permits(address)


def test_a_listed_network_is_permitted_and_no_other() -> None:
    egress = Egress([], [ipaddress.ip_network("10.96.0.0/16"), ipaddress.ip_network("fd00:1::/32")])
    assert egress.permits("10.96.4.5")
    assert egress.permits("::ffff:10.96.4.5")
    assert egress.permits("fd00:1::7")
    assert not egress.permits("10.97.0.1")
    assert not egress.permits("not an address")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1"])
def test_an_address_as_a_host_must_be_listed_and_permitted(host: str) -> None:
    with pytest.raises(Undeliverable, match="--notify-host"):
        Egress([], [LOOPBACK]).check_url(f"http://{host}/")
    with pytest.raises(Undeliverable, match="--notify-network"):
        Egress([host], []).check_url(f"http://{host}/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
async def test_odd_notations_of_an_address_lead_nowhere(host: str) -> None:
    egress = Egress([host], [])
    with pytest.raises((Undeliverable, OSError)) as error:
        await PinnedResolver(egress).resolve(host, 80, socket.AF_INET)
    assert "127.0.0.1" in str(error.value) or isinstance(error.value, OSError)
    async with open_session(egress) as session:
        with pytest.raises(Undeliverable):
            await post(session, egress, f"http://{host}:9/", body=b"", headers={})


class Rebinding:
    """A name server that answers something else every time, as one for an attack does."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        addresses = self.answers[min(self.asked, len(self.answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


async def test_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    egress = Egress(["rebind.example.com"], [])
    monkeypatch.setattr(socket, "getaddrinfo", Rebinding(["10.0.0.7"]))
    async with open_session(egress) as session:
        with pytest.raises(Undeliverable, match=r"10\.0\.0\.7.*--notify-network") as error:
            await post(session, egress, "http://rebind.example.com/", body=b"", headers={})
    assert error.value.permanent


async def test_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up for each connection: a second answer is never asked for, so it cannot matter."""
    egress = Egress(["rebind.example.com"], [LOOPBACK])
    async with Peer() as peer:
        names = Rebinding(["127.0.0.1", "10.0.0.7"], ["169.254.169.254"])
        monkeypatch.setattr(socket, "getaddrinfo", names)
        async with open_session(egress) as session:
            await post(session, egress, f"http://rebind.example.com:{peer.port}/", body=b"x", headers={})
            assert (names.asked, len(peer.got)) == (1, 1)
            assert peer.got[0].headers["host"] == f"rebind.example.com:{peer.port}"
            with pytest.raises(Undeliverable, match=r"169\.254\.169\.254"):
                await post(session, egress, f"http://rebind.example.com:{peer.port}/", body=b"x", headers={})
    assert len(peer.got) == 1


async def test_only_permitted_ones_of_several_addresses_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Rebinding(["10.0.0.7", "8.8.8.8", "127.0.0.1"]))
    found = await PinnedResolver(Egress(["a.example.com"], [])).resolve("a.example.com", 443, socket.AF_INET)
    assert [entry["host"] for entry in found] == ["8.8.8.8"]
    assert isinstance(PinnedResolver(ANYWHERE), aiohttp.abc.AbstractResolver)
