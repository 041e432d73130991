"""Leases on Google Cloud Storage go by generations; the server is a dict on loopback that knows what leases ask for."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from icecore.store import LockedError
from icecore.store.files.conditional import SupersededError
from icecore.store.files.lock import hold
from icecore.store.files.remote_folder import RemoteFolder

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else it asks Google what kind of bucket it is
gcsfs = pytest.importorskip("gcsfs")


class Bucket(BaseHTTPRequestHandler):
    """Objects by name, each with its generation."""

    objects: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        name, expected = query["name"][0], int(query["ifGenerationMatch"][0])
        data = self.rfile.read(int(self.headers["Content-Length"]))
        present = self.objects.get(name, (0, b""))[0]
        if present != expected:
            self.answer(412, b'{"error": {"message": "precondition"}}')
            return
        self.objects[name] = (present + 7, data)
        self.answer(200, json.dumps({"generation": str(present + 7)}).encode())

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path.rpartition("/o/")[2])
        if name not in self.objects:
            self.answer(404, b"{}")
            return
        generation, data = self.objects[name]
        facts = {"generation": str(generation), "name": name, "bucket": "ice", "size": str(len(data))}
        self.answer(200, data if "media" in parts.query else json.dumps(facts).encode())

    def do_DELETE(self) -> None:
        self.objects.pop(unquote(urlsplit(self.path).path.rpartition("/o/")[2]), None)
        self.answer(204, b"")

    def answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say nothing."""


@pytest.fixture
def folder() -> Iterator[RemoteFolder]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    filesystem = gcsfs.GCSFileSystem(token="anon", endpoint_url=endpoint, use_listings_cache=False)
    Bucket.objects.clear()
    yield RemoteFolder("gs://ice/s.ice", filesystem, "ice/s.ice")
    server.shutdown()
    server.server_close()


def test_an_object_is_put_only_while_it_is_as_it_was_seen(folder: RemoteFolder) -> None:
    assert folder.tag("lock") is None
    first = folder.put_if("lock", b"one", None, is_new=True)
    with pytest.raises(SupersededError):
        folder.put_if("lock", b"two", None, is_new=True)
    second = folder.put_if("lock", b"two", first, is_new=False)
    assert folder.tag("lock") == second != first
    with pytest.raises(SupersededError):
        folder.put_if("lock", b"three", first, is_new=False)
    assert folder.read("lock") == b"two"


def test_one_holder_at_a_time(folder: RemoteFolder) -> None:
    with hold(folder, "lock") as held:
        held.require()
        with pytest.raises(LockedError, match="is writing it"), hold(folder, "lock"):
            pass
        generation, data = Bucket.objects["s.ice/lock"]
        Bucket.objects["s.ice/lock"] = (generation + 1, data.replace(held.token.encode(), b"another"))
        with pytest.raises(LockedError, match="another process may have begun"):
            held.require()
    assert b"another" in Bucket.objects["s.ice/lock"][1]
