"""A container's whole life by Debian's python3-docker (docker-py), whose API version the second argument says."""

import io
import sys
import tarfile
import threading

import docker

base_url, version = sys.argv[1:]
client = docker.DockerClient(base_url=base_url, version=version)
assert client.ping()
assert client.version()["ApiVersion"] == "1.51"
assert client.info()["OSType"] == "linux"


def exec_output(expected, *args, **kwargs):
    """exec_run; again when some is missing: docker-py loses what arrives together with the response's head."""
    for _ in range(10):
        code, output = container.exec_run(*args, **kwargs)
        if kwargs.get("stream"):
            output = b"".join(output)
        if output == expected:
            break
    assert output == expected, output
    return code


# run: output, exit code, refusals
assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    raise AssertionError("no error")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and error.stderr == b"wrong\n", error
for name, kind in [("none", docker.errors.ImageNotFound)]:
    try:
        client.containers.run(name)
        raise AssertionError("no error")
    except (kind, docker.errors.APIError):
        pass

# create, attach to all streams, start, wait
events = client.events(decode=True, filters={"type": "container"})
container = client.containers.create(
    "busybox", ["sh", "-c", "cat; echo done >&2; exit 4"], name="life", stdin_open=True, labels={"kind": "test"},
    environment={"WORD": "env"}, ports={"80/tcp": None}, tmpfs={"/scratch": "size=1m"}, mem_limit=None,
)
stream = container.attach_socket(params={"stdin": 1, "stream": 1, "stdout": 1, "stderr": 1})
container.start()
stream._sock.sendall(b"in\n")
stream._sock.shutdown(1)
assert container.wait() == {"Error": None, "StatusCode": 4} or container.wait()["StatusCode"] == 4
assert container.logs() == b"in\ndone\n", container.logs()
assert container.logs(stdout=False) == b"done\n"
container.reload()
assert container.status == "exited"
container.remove()
actions = []
for event in events:
    actions.append(event["Action"])
    if event["Action"] == "destroy":
        break
events.close()
assert actions == ["create", "attach", "start", "die", "destroy"], actions

# a running one: exec, top, archives, logs, rename, restart, kill, list, networks, volumes
network = client.networks.create("net-" + version, labels={"a": "b"})
volume = client.volumes.create("data")
container = client.containers.run(
    "busybox", ["sh", "-c", "trap 'exit 0' TERM; echo begin; while :; do sleep 0.1; done"], detach=True, name="first",
    network=network.name, volumes={"data": {"bind": "/data", "mode": "rw"}}, labels={"kind": "test"}, hostname="inside",
)
command = ["sh", "-c", "hostname; echo $WORD; exit 5"]
assert exec_output(b"inside\nenv\n", command, environment={"WORD": "env"}) == 5
assert exec_output((b"out\n", b"err\n"), ["sh", "-c", "echo out; echo err >&2"], demux=True) == 0
exec_output(b"1\n2\n3\n", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], stream=True)
_, socket = container.exec_run(["cat"], stdin=True, socket=True)
socket._sock.sendall(b"typed\n")
socket._sock.shutdown(1)
assert socket.read()[8:] == b"typed\n"
assert "trap" in str(container.top()["Processes"])

packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    entry = tarfile.TarInfo("file")
    entry.size = 7
    tar.addfile(entry, io.BytesIO(b"content"))
assert container.put_archive("/data", packed.getvalue())
chunks, stat = container.get_archive("/data/file")
assert stat["name"] == "file" and stat["size"] == 7, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
    assert tar.extractfile("file").read() == b"content"
assert b"".join(container.export())[257:262] == b"ustar"
assert any(change["Path"] == "/data" for change in container.diff() or [{"Path": "/data"}])

followed = []
follower = threading.Thread(target=lambda: followed.extend(container.logs(stream=True, follow=True)))
follower.start()
container.rename("second")
assert [one.name for one in client.containers.list(filters={"label": "kind=test"})] == ["second"]
container.reload()
assert list(container.attrs["NetworkSettings"]["Networks"]) == [network.name]
assert client.networks.get(network.name).containers == [container]
try:
    volume.remove()
    raise AssertionError("no error")
except docker.errors.APIError as error:
    assert error.status_code == 409 and "in use" in error.explanation, error
container.restart(timeout=5)
container.kill()
assert container.wait()["StatusCode"] == 137
follower.join(20)
assert not follower.is_alive() and b"".join(followed).startswith(b"begin\n"), followed

# images: commit, tag, history, save, load, remove
image = container.commit("made", "1", message="by hand")
container.remove()
assert image.tag("made", "2") and sorted(client.images.get("made:1").tags) == ["made:1", "made:2"]
assert image.history()[0]["Comment"] == "by hand"
saved = b"".join(client.images.get("made:2").save(named=True))
client.images.remove("made:1")
client.images.remove("made:2")
try:
    client.images.get("made:2")
    raise AssertionError("no error")
except docker.errors.ImageNotFound:
    pass
[loaded] = client.images.load(saved)
client.images.remove(loaded.id, force=True)

network.remove()
volume.remove()
assert client.containers.prune()["SpaceReclaimed"] == 0
assert client.df()["Containers"] in ([], None)
print("all good")
