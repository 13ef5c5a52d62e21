"""An account's base URL can't be turned against the network around us."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from raw_server import CALL, always, reply, serving

from app.cloudagent.addresses import (
    AddressPolicy,
    IPAddress,
    SystemResolver,
    check_base_url,
    check_path,
    kind_of,
)
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.errors import InvalidInput
from app.domain.replies import Answer, Certainty, NoAnswer

STRICT = AddressPolicy()
LOOPBACK = AddressPolicy(allow_loopback=True)
PRIVATE = AddressPolicy(allow_private=True)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("3.6.154.17", "public"),
        ("2406:da1a::1", "public"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.1", "public"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.127.255.255", "private"),
        ("100.128.0.1", "public"),
        ("fd00::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("2001::1", "reserved"),
        ("fec0::1", "reserved"),
        ("::7f00:1", "reserved"),
        ("::ffff:127.0.0.1", "reserved"),
        ("::ffff:10.0.0.1", "reserved"),
        ("::ffff:169.254.169.254", "reserved"),
        ("::ffff:3.6.154.17", "public"),
        ("64:ff9b::a00:1", "reserved"),
        ("64:ff9b::306:9a11", "public"),
        ("64:ff9b:1::a00:1", "reserved"),
        ("2002:a00:1::", "reserved"),
        ("2002:7f00:1::1", "reserved"),
        ("2002:306:9a11::", "public"),
    ],
)
def test_an_address_is_of_a_kind(address: str, kind: str) -> None:
    assert kind_of(ip_address(address)) == kind


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("https://in1-ccaas-api.ozonetel.com", STRICT),
        ("https://api.ccaas.ozonetel.com/", STRICT),
        ("https://partner.example:8443/prefix", STRICT),
        ("https://bücher.example", STRICT),
        ("https://3.6.154.17", STRICT),
        ("https://[2406:da1a::1]:8443", STRICT),
        ("http://127.0.0.1:8081", LOOPBACK),
        ("http://[::1]:8081", LOOPBACK),
        ("http://localhost:8081", LOOPBACK),
        ("https://127.0.0.1:8081", LOOPBACK),
        ("https://10.0.0.1", PRIVATE),
    ],
)
def test_a_base_url_is_taken(url: str, policy: AddressPolicy) -> None:
    check_base_url(url, policy)


@pytest.mark.parametrize(
    ("url", "policy", "message"),
    [
        ("", STRICT, "not a whole URL"),
        ("in1-ccaas-api.ozonetel.com", STRICT, "not a whole URL"),
        ("ftp://in1-ccaas-api.ozonetel.com", STRICT, "not a whole URL"),
        ("file:///etc/passwd", STRICT, "not a whole URL"),
        ("https://", STRICT, "not a whole URL"),
        ("http://in1-ccaas-api.ozonetel.com", LOOPBACK, "must be https"),
        ("http://3.6.154.17", LOOPBACK, "can't be called: http is for loopback only, anything else must be https"),
        ("http://10.0.0.1", PRIVATE, "must be https"),
        ("https://user:pw@partner.example", STRICT, "user name or a password"),
        ("https://@partner.example", STRICT, "user name or a password"),
        ("https://partner.example?apiKey=K", STRICT, "query"),
        ("https://partner.example/?", STRICT, "query"),
        ("https://partner.example/#x", STRICT, "fragment"),
        ("https://partner.example\\@127.0.0.1", STRICT, "backslashes"),
        ("https://partner.example/a b", STRICT, "spaces"),
        ("https://partner.example\r\nX: 1", STRICT, "control characters"),
        ("https://partner.example:99999", STRICT, "port"),
        ("https://partner.example:0", STRICT, "port"),
        ("https://partner.example:x", STRICT, "not a URL"),
        ("https://[::1", STRICT, "not a URL"),
        ("https://127.0.0.1", STRICT, "loopback"),
        ("http://localhost", STRICT, "loopback"),
        ("https://sub.localhost", STRICT, "loopback"),
        ("https://10.0.0.1", STRICT, "private"),
        ("https://[::ffff:10.0.0.1]", PRIVATE, "reserved"),
        ("https://169.254.169.254", PRIVATE, "link-local"),
        ("https://0.0.0.0", LOOPBACK, "unspecified"),
        ("https://127.1", LOOPBACK, "neither a name nor an address"),
        ("https://2130706433", LOOPBACK, "neither a name nor an address"),
        ("https://0x7f000001", LOOPBACK, "neither a name nor an address"),
        ("https://0177.0.0.1", LOOPBACK, "not a URL"),
        ("https://a..b.example", STRICT, "neither a name nor an address"),
        ("https://-a.example", STRICT, "neither a name nor an address"),
        ("https://a%00b.example", STRICT, "neither a name nor an address"),
    ],
)
def test_a_base_url_is_refused(url: str, policy: AddressPolicy, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_base_url(url, policy)
    (fault,) = caught.value.faults
    assert fault.field == "base_url"
    assert message in fault.message


@pytest.mark.parametrize("path", ["/CAServices/Disposition/DispositionAPIV3.php", "/", "/~x/ca_apis/v-2.1"])
def test_a_path_is_taken(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize("path", ["", "x.php", "/x?a=1", "/x#a", "/a b", "/a\r\nb", "/%2e", "/é", "/a@b"])
def test_a_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="path must start with /"):
        check_path(path)


class Names:
    """A resolver with answers of its own, which counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in answer]


async def dispose(
    resolver: Names, credentials: Credentials, base_url: str, policy: AddressPolicy = STRICT
) -> Answer | NoAnswer:
    client = CloudAgentClient(CloudAgentTransport(policy, resolver=resolver))
    try:
        return await client.dispose(Endpoint(base_url, "v3-query"), credentials, CALL, deadline=2)
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("addresses", "policy", "why"),
    [
        (["10.0.0.1"], LOOPBACK, "10.0.0.1 is a private address"),
        (["127.0.0.1"], STRICT, "loopback addresses are not allowed"),
        (["127.0.0.1"], PRIVATE, "loopback addresses are not allowed"),
        (["169.254.169.254"], PRIVATE, "169.254.169.254 is a link-local address"),
        (["::ffff:127.0.0.1"], LOOPBACK, "::ffff:7f00:1 is a reserved address"),
        (["3.6.154.17", "10.0.0.1"], STRICT, "10.0.0.1 is a private address"),
        ([], STRICT, "it has no address"),
    ],
)
async def test_a_name_that_leads_to_a_forbidden_address_is_not_called(
    credentials: Credentials, addresses: list[str], policy: AddressPolicy, why: str
) -> None:
    result = await dispose(Names(addresses), credentials, "https://cloudagent.test", policy)
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.NOT_SENT
    assert result.reason.startswith("cloudagent.test:443 is not called: ")
    assert why in result.reason


async def test_plain_http_to_a_name_goes_to_loopback_only(credentials: Credentials) -> None:
    async with serving(always(reply())) as server:
        url = f"http://sandbox.test:{server.port}"
        assert isinstance(await dispose(Names(["127.0.0.1"]), credentials, url, LOOPBACK), Answer)
        result = await dispose(Names(["3.6.154.17"]), credentials, url, LOOPBACK)
    assert isinstance(result, NoAnswer)
    assert "http is for loopback only" in result.reason


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1"])
async def test_other_spellings_of_an_address_are_judged_by_where_they_lead(credentials: Credentials, host: str) -> None:
    client = CloudAgentClient(CloudAgentTransport(STRICT))
    result = await client.dispose(Endpoint(f"https://{host}", "v3-query"), credentials, CALL, deadline=5)
    await client.aclose()
    assert isinstance(result, NoAnswer)
    assert result.certainty is Certainty.NOT_SENT


async def test_a_name_is_looked_up_once_per_connection_so_that_it_cannot_change_its_answer(
    credentials: Credentials,
) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    client = CloudAgentClient(CloudAgentTransport(LOOPBACK, resolver=names))
    async with serving(always(reply())) as server:
        endpoint = Endpoint(f"http://rebinding.test:{server.port}", "v3-query")
        for _ in range(2):
            assert isinstance(await client.dispose(endpoint, credentials, CALL, deadline=5), Answer)
        assert (names.asked, server.connections) == (1, 1)
        assert f"\r\nHost: rebinding.test:{server.port}\r\n" in server.requests[0].decode()
    await client.aclose()


async def test_the_next_address_is_tried_when_the_first_refuses(credentials: Credentials) -> None:
    async with serving(always(reply())) as server:
        names = Names(["127.0.0.2", "127.0.0.1"])
        answer = await dispose(names, credentials, f"http://two.test:{server.port}", LOOPBACK)
        assert isinstance(answer, Answer)
        assert len(server.requests) == 1


async def test_a_name_that_hangs_takes_one_thread_and_holds_up_no_other() -> None:
    release = threading.Event()
    asked: list[str] = []

    def look_up(host: str, port: int) -> Sequence[IPAddress]:
        asked.append(host)
        if host == "hangs.test":
            release.wait(30)
        return [ip_address("192.0.2.1")]

    resolver = SystemResolver(look_up)
    waiting = [asyncio.create_task(resolver("hangs.test", 443)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(resolver("answers.test", 443), 5) == [ip_address("192.0.2.1")]
    assert asked.count("hangs.test") == 1
    release.set()
    await asyncio.gather(*waiting)
    await resolver("hangs.test", 443)
    assert asked.count("hangs.test") == 2  # an answer is shared by those who wait for it, and kept for nobody
