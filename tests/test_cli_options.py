import click
import pytest
from click.testing import CliRunner

from zaudio import Security
from zaudio.cli.app import app
from zaudio.cli.options import bind_address, connect_address, grouped

PARAMETER = click.Argument(["endpoint"])
CONTEXT = click.Context(click.Command("test"))


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:5555",
        "tcp://host.example:1",
        "tcp://h:65535",
        "tcp://[::1]:5555",
        "tcp://*:5555",
        "ipc:///tmp/farm.sock",
        "ipc://farm",
    ],
)
def test_an_address_comes_back_as_it_was_given(address):
    assert connect_address(CONTEXT, PARAMETER, address) == address
    assert bind_address(CONTEXT, PARAMETER, address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "5555",
        "127.0.0.1:5555",
        "http://127.0.0.1:5555",
        "tcp:127.0.0.1:5555",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://:5555",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:\u0665",
        "tcp://::1:5555",
        "ipc://",
    ],
)
@pytest.mark.parametrize("check", [connect_address, bind_address])
def test_what_is_no_address_is_a_usage_error_with_an_example(check, address):
    with pytest.raises(click.BadParameter, match=r"write it like tcp://127\.0\.0\.1:5555"):
        check(CONTEXT, PARAMETER, address)


def test_port_zero_can_be_bound_and_not_connected_to():
    assert bind_address(CONTEXT, PARAMETER, "tcp://127.0.0.1:0") == "tcp://127.0.0.1:0"
    with pytest.raises(click.BadParameter):
        connect_address(CONTEXT, PARAMETER, "tcp://127.0.0.1:0")


def test_no_bind_address_stays_none():
    assert bind_address(CONTEXT, PARAMETER, None) is None


def test_a_class_of_machines_belongs_to_security():
    assert grouped({"machines": "0123ab"})["security"] == Security(machines="0123ab")
    for command in ("farm", "coordinator"):
        assert "--class NAME" in CliRunner().invoke(app, [command, "--help"]).output
