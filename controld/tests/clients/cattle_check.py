#!/usr/bin/env python3
"""Drives a running controld with the unmodified PyPI packages of the API's first client.

    python3 -m venv venv && venv/bin/pip install cattle==0.5.4 gdapi-python==0.5.3
    venv/bin/python controld/tests/clients/cattle_check.py http://127.0.0.1:9080

Needs a controld started with --open. It creates networks and a container that no host need run, and
removes them. Uses what these packages can do on Python 3; their command line prints only on
Python 2.
"""

import os
import sys
import tempfile
import uuid

# The packages keep their caches in the home directory.
os.environ["HOME"] = tempfile.mkdtemp()

import cattle  # noqa: E402  (after the home directory is set)


def connect(url):
    return cattle.Client(url=url, cache=False)


def refused(status, code, field, call):
    try:
        call()
    except cattle.ApiError as error:
        got = (error.error.status, error.error.code, getattr(error.error, "fieldName", None))
        assert got == (status, code, field), got
        return
    raise AssertionError("%s was not refused" % code)


def discovery(root):
    clients = [connect(root + path) for path in ("", "/", "/v1", "/v1/", "/v1/schemas")]
    types = [sorted(client.schema.types) for client in clients]
    assert all(client.valid() for client in clients)
    assert all(found == types[0] for found in types)
    print("schemas found from every URL: %d types" % len(types[0]))
    return clients[0]


def resources(client):
    managed = list(client.list_network(uuid="managed-docker0"))
    assert len(managed) == 1 and managed[0].type == "hostOnlyNetwork"
    name = uuid.uuid4().hex
    network = client.wait_success(client.create_host_only_network(name=name, uuid=name))
    assert network.state == "active"
    refused(409, "NotUnique", "uuid", lambda: client.create_network(name=name, uuid=name))
    subnet = client.wait_success(
        client.create_subnet(networkId=network.id, networkAddress="192.168.3.42"))
    got = (subnet.networkAddress, subnet.gateway, subnet.startAddress, subnet.endAddress)
    assert got == ("192.168.3.42", "192.168.3.1", "192.168.3.2", "192.168.3.250"), got
    assert subnet.network().id == network.id
    assert [one.id for one in network.subnets()] == [subnet.id]
    print("networks and subnets: created, linked, waited for")
    return network, subnet


def instances(client, network):
    container = client.create_container(
        imageUuid="docker:nginx", networkIds=[network.id], startOnCreate=False,
        environment={"A": "b"}, commandArgs=[80, "x"], name="check")
    assert container.state == "creating" and container.transitioning == "yes"
    assert container.primaryIpAddress.startswith("192.168.3.")
    assert container.commandArgs == ["80", "x"]
    assert "networkIds" not in vars(container)
    assert [nic.networkId for nic in container.nics()] == [network.id]
    assert client.reload(container).id == container.id
    assert client.by_id_instance(container.id).type == "container"
    renamed = client.update(container, name="renamed")
    assert renamed.name == "renamed"
    found = [one.id for one in client.list_container(name_prefix="ren", removed_null=True)]
    assert container.id in found
    assert client.by_id_container("1i99999") is None
    refused(422, "MissingRequired", "imageUuid", client.create_container)
    refused(422, "InvalidFormat", "memoryMb",
            lambda: client.create_container(imageUuid="docker:x", memoryMb="much"))
    removed = client.delete(renamed)
    assert removed.state in ("stopping", "removing", "removed"), removed.state
    print("instances: created, followed, changed, removed")


def pages(client):
    seen, page = [], client.list_network(limit=1, sort="name")
    while page is not None:
        seen += [one.id for one in page]
        page = page.next() if getattr(page.pagination, "next", None) else None
    assert len(seen) == len(set(seen)) == len(list(client.list_network()))
    print("pages: %d networks one by one" % len(seen))


def main():
    root = sys.argv[1].rstrip("/")
    client = discovery(root)
    network, subnet = resources(client)
    instances(client, network)
    pages(client)
    off = client.action(network, "deactivate")
    assert off.state == "inactive"
    print("all well")


if __name__ == "__main__":
    main()
