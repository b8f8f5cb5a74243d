"""Where a proxy listens, and where it finds its key."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from luban.deploy.proxies.target import ProxyConfig, front_of
from luban.errors import ConfigError
from ports import free_ports

from .fronted import IPV6, PROXIES, configured
from .plans import plan
from .running import COMMANDS, listens, process, program, wait_for


@pytest.mark.skipif(not IPV6, reason="this kernel has no IPv6")
@pytest.mark.parametrize("proxy", PROXIES)
def test_clients_of_both_kinds_of_addresses_are_answered(proxy: str, tmp_path: Path) -> None:
    """Where a name has an AAAA record, many clients ask by that first, and so do authorities of certificates."""
    program(proxy)
    (port,) = free_ports(1)
    config, _ = configured(proxy, tmp_path, [1, 2], port)
    with process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"):
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        for host in ("127.0.0.1", "::1"):
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 404
            connection.close()


@pytest.mark.parametrize("proxy", PROXIES)
def test_without_ipv6_none_is_asked_for(proxy: str, tmp_path: Path) -> None:
    config, _ = configured(proxy, tmp_path, [1, 2], 443, ipv6=False, plain_port=80)
    text = config.read_text("utf-8")
    assert "[::]" not in text
    assert "v4v6" not in text


def test_haproxy_finds_the_key_where_it_looks() -> None:
    elsewhere = ProxyConfig(certificate="/etc/a.pem", certificate_key="/etc/b.key")
    with pytest.raises(ConfigError, match=r"certificate_key.*/etc/a\.pem\.key"):
        front_of(plan(proxy="haproxy"), elsewhere, ("127.0.0.1:1",))
    assert front_of(plan(proxy="nginx"), elsewhere, ("127.0.0.1:1",)).certificate_key == "/etc/b.key"
