"""Remote files: listed without being fetched, fetched once, whole or not at all, from servers of no trust."""

import functools
import http.server
import os
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from wavenet.audio.decoding import AudioSource
from wavenet.data import stores
from wavenet.data.listing import open_listing
from wavenet.data.manifests import write_manifest_csv
from wavenet.data.scan import scan_input
from wavenet.errors import AudioDecodeError, ConfigError, NoAudioError


@pytest.fixture
def downloads(tmp_path):
    return tmp_path / "downloads"


def fetched(downloads):
    return sorted(path.name for path in downloads.rglob("*") if path.is_file())


# A web server


class Handler(http.server.SimpleHTTPRequestHandler):
    """As python -m http.server, but it counts, and can be told to fail."""

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.server.heads[self.path] += 1
        super().do_HEAD()

    def do_GET(self):
        self.server.gets[self.path] += 1
        if self.path in self.server.pages:
            status, body = self.server.pages[self.path]
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body) + (100 if status == 206 else 0)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path):
    """A server of a folder. gets, heads: how often each path was asked for; pages: what to answer instead."""
    root = tmp_path / "www"
    root.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(root))
    )
    server.gets, server.heads, server.pages, server.root = Counter(), Counter(), {}, root
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write(path, content=b"RIFF"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_web_folder_is_listed_and_nothing_is_fetched(web, downloads):
    for name in ["music/one/drums.wav", "music/one/bass & co #1.wav", "music/two/ü 100%.flac", "other/x.wav"]:
        write(web.root / name)
    listing = open_listing(f"{web.url}/music/", downloads)
    assert listing.title == "music"
    assert listing.names == ["one/bass & co #1.wav", "one/drums.wav", "two/ü 100%.flac"]
    assert not downloads.exists()
    assert all(listing.path(name).is_relative_to(downloads) for name in listing.names)
    assert not any(path.endswith("wav") for path in web.gets)


def test_a_web_file_is_fetched_once_and_anew_when_it_changed(web, downloads):
    write(web.root / "a.wav", b"one")
    listing = open_listing(f"{web.url}/", downloads)
    path = listing.path("a.wav")
    for _ in range(2):
        listing.fetch(path)
        open_listing(f"{web.url}/", downloads).fetch(path)
    assert path.read_bytes() == b"one"
    assert web.gets["/a.wav"] == 1

    write(web.root / "a.wav", b"two")
    os.utime(web.root / "a.wav", (0, 0))
    newer = open_listing(f"{web.url}/", downloads)
    newer.fetch(newer.path("a.wav"))
    assert newer.path("a.wav").read_bytes() == b"two"
    assert path.read_bytes() == b"one"


def test_songs_that_are_parts_of_one_file_fetch_it_once(web, downloads):
    write(web.root / "a.wav", b"x" * 100_000)
    listing = open_listing(web.url, downloads)
    path = listing.path("a.wav")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(listing.fetch, [path] * 8))
    assert web.gets["/a.wav"] == 1


def test_links_that_lead_elsewhere_are_not_followed(web, downloads):
    write(web.root / "music/a.wav")
    write(web.root / "secret.wav")
    links = ["a.wav", "./a.wav", "/secret.wav", "../secret.wav", "%2e%2e/secret.wav", "x/../../secret.wav"]
    links += ["http://127.0.0.1:9/b.wav", "?C=N;O=D", "#top", "b%2Fc.wav", "//127.0.0.1:9/c.wav", "x//d.wav"]
    links += [f"{web.url}/music/../secret.wav", web.url.replace("http:", "https:") + "/music/other.wav"]
    page = "".join(f'<a href="{link}">{link}</a>' for link in links)
    web.pages["/music/"] = 200, page.encode()
    listing = open_listing(f"{web.url}/music", downloads)
    assert (listing.names, listing.set_aside) == (["a.wav"], [])
    assert set(web.gets) == {"/music/"}
    assert set(web.heads) == {"/music/a.wav"}


def test_links_in_circles_end(web, downloads):
    write(web.root / "music/a.wav")
    for depth in range(stores.DEEPEST_PAGE + 2):
        web.pages["/music/" + "x/" * depth] = 200, b'<a href="x/">x/</a>'
    web.pages["/music/"] = 200, b'<a href="a.wav">a</a> <a href="x/">x/</a> <a href="/music/">up</a>'
    assert open_listing(f"{web.url}/music", downloads).names == ["a.wav"]


def test_a_server_of_endless_pages_is_told_of(web, downloads, monkeypatch):
    monkeypatch.setattr(stores, "MOST_PAGES", 3)
    web.pages["/"] = 200, b"".join(b'<a href="%d/">x</a>' % number for number in range(5))
    with pytest.raises(NoAudioError, match="more than 3 index pages"):
        open_listing(web.url, downloads)


def test_hidden_files_and_locked_folders_of_a_server_are_set_aside(web, downloads):
    for name in ["a.wav", ".b.wav", "x/.c/d.wav", "work/.waveband-workspace", "work/e.wav", "locked/f.wav"]:
        write(web.root / name)
    web.pages["/locked/"] = 403, b"no"
    web.pages["/gone/"] = 404, b"no"
    web.pages["/"] = (
        200,
        b"".join(
            b'<a href="%s">x</a>' % link
            for link in [b"a.wav", b".b.wav", b"x/", b"work/", b"locked/", b"missing.wav"]
        ),
    )
    listing = open_listing(web.url, downloads)
    assert listing.names == ["a.wav"]
    reasons = {one.path: one.reason for one in listing.set_aside}
    assert reasons[".b.wav"] == reasons["x/.c/d.wav"] == "a hidden file"
    assert "workspace" in reasons["work/e.wav"]
    assert "403" in reasons["locked"] or "Forbidden" in reasons["locked"]
    assert "cannot be fetched" in reasons["missing.wav"]


def test_a_single_web_file_is_a_track(web, downloads):
    write(web.root / "my song.wav", b"sound")
    listing = open_listing(f"{web.url}/my%20song.wav?token=1", downloads)
    (song,) = scan_input(listing).songs
    (source,) = song.stems["mix"]
    listing.fetch(source.path)
    assert song.name == listing.title == "my song"
    assert source.path.name == "my song.wav"
    assert source.path.read_bytes() == b"sound"


def test_a_file_that_comes_short_leaves_nothing_behind(web, downloads, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    write(web.root / "a.wav", b"x" * 1000)
    listing = open_listing(web.url, downloads)
    web.pages["/a.wav"] = 206, b"x" * 900  # its header promises 1000
    with pytest.raises(NoAudioError, match=r"a\.wav: cannot be reached .* run again"):
        listing.fetch(listing.path("a.wav"))
    assert fetched(downloads) == []
    web.pages["/a.wav"] = 200, b"x" * 900  # a whole answer, but another file
    with pytest.raises(AudioDecodeError, match="900 bytes came of 1000"):
        listing.fetch(listing.path("a.wav"))
    assert fetched(downloads) == []


def test_a_file_that_is_gone_or_forbidden_is_told_apart_from_a_server_that_is(web, downloads, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    write(web.root / "a.wav")
    listing = open_listing(web.url, downloads)
    for status in (403, 404):
        web.pages["/a.wav"] = status, b"no"
        with pytest.raises(AudioDecodeError, match=r"a\.wav: cannot be fetched"):
            listing.fetch(listing.path("a.wav"))
    web.pages["/a.wav"] = 503, b"busy"
    with pytest.raises(NoAudioError, match=r"a\.wav: cannot be reached"):
        listing.fetch(listing.path("a.wav"))


def test_a_damaged_download_is_fetched_anew(web, downloads):
    write(web.root / "a.wav", b"whole")
    listing = open_listing(web.url, downloads)
    path = listing.path("a.wav")
    listing.fetch(path)
    path.write_bytes(b"hal")
    listing.fetch(path)
    assert path.read_bytes() == b"whole"


def test_an_empty_server_says_that_an_index_page_is_needed(web, downloads):
    with pytest.raises(NoAudioError, match=r"nothing lies there; .* must show an index page"):
        open_listing(web.url, downloads)


def test_a_folder_that_a_server_does_not_know_is_told_of(web, downloads):
    with pytest.raises(
        NoAudioError, match=r"/gone: cannot be reached \(FileNotFoundError.*check the address"
    ):
        open_listing(f"{web.url}/gone", downloads)


# Servers that are not there


def test_a_server_that_is_not_there_is_told_of_soon(downloads):
    began = time.monotonic()
    with pytest.raises(NoAudioError, match=r"127\.0\.0\.1:9/music: cannot be reached"):
        open_listing("http://127.0.0.1:9/music", downloads)
    assert time.monotonic() - began < 5


@pytest.fixture
def silence():
    """The address of a server that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_says_nothing_is_given_up(silence, downloads, monkeypatch):
    monkeypatch.setattr(stores, "SILENCE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(NoAudioError, match=r"cannot be reached .*Timeout"):
        open_listing(f"http://{silence}/music/", downloads)
    assert time.monotonic() - began < 5


def test_a_bucket_of_a_server_that_says_nothing_is_given_up(silence, downloads, monkeypatch):
    monkeypatch.setattr(stores, "SILENCE_SECONDS", 0.3)
    set_credentials(monkeypatch, f"http://{silence}")
    began = time.monotonic()
    with pytest.raises(NoAudioError, match=r"s3://music/x: cannot be reached .*AWS_ENDPOINT_URL"):
        open_listing("s3://music/x", downloads)
    assert time.monotonic() - began < 10


def test_a_bucket_of_a_server_that_is_not_there_is_told_of_soon(downloads, monkeypatch):
    set_credentials(monkeypatch, "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(NoAudioError, match=r"s3://music/x: cannot be reached .*AWS_ENDPOINT_URL"):
        open_listing("s3://music/x", downloads)
    assert time.monotonic() - began < 10


# S3


def set_credentials(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="module")
def s3_server():
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A client of a fresh bucket named music."""
    import boto3

    set_credentials(monkeypatch, s3_server)
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="music")
    yield client
    for found in client.list_objects_v2(Bucket="music").get("Contents", []):
        client.delete_object(Bucket="music", Key=found["Key"])
    client.delete_bucket(Bucket="music")


def put(client, **contents):
    for key, content in contents.items():
        client.put_object(Bucket="music", Key=key, Body=content)


def test_songs_of_a_bucket_are_fetched_one_by_one_and_once(bucket, downloads):
    put(bucket, **{"band/one/drums.wav": b"drums", "band/one/bass.wav": b"bass", "elsewhere/x.wav": b"x"})
    listing = open_listing("s3://music/band", downloads)
    (song,) = scan_input(listing).songs
    assert (song.name, sorted(song.stems)) == ("one", ["bass", "drums"])
    (drums,) = song.stems["drums"]
    assert not downloads.exists()
    listing.fetch(drums.path)
    assert fetched(downloads) == ["drums.wav"]
    assert drums.path.read_bytes() == b"drums"

    bucket.delete_object(Bucket="music", Key="band/one/drums.wav")
    listing.fetch(drums.path)  # is there, and is not asked for again


def test_a_file_of_a_bucket_that_changed_is_another_file(bucket, downloads):
    put(bucket, **{"a.wav": b"one"})
    before = open_listing("s3://music", downloads).path("a.wav")
    assert open_listing("s3://music", downloads).path("a.wav") == before
    put(bucket, **{"a.wav": b"two"})
    assert open_listing("s3://music", downloads).path("a.wav") != before


def test_keys_of_a_bucket_are_never_paths(bucket, downloads):
    keys = ["x/../../evil.wav", "x//a.wav", "x/./b.wav", "x/..", "x/ok.wav", "x/folder/"]
    keys += ["x/" + "long" * 50 + ".wav", "x/star *.wav"]
    put(bucket, **dict.fromkeys(keys, b"sound"))
    listing = open_listing("s3://music/x", downloads)
    assert len(listing.names) == 3
    assert {one.path for one in listing.set_aside} == {"../../evil.wav", "/a.wav", "./b.wav", ".."}
    for name in listing.names:
        listing.fetch(listing.path(name))
        assert listing.path(name).parent.parent == downloads
        assert listing.path(name).suffix == ".wav"
        assert listing.path(name).read_bytes() == b"sound"


def test_a_prefix_or_bucket_that_holds_nothing_is_told_of(bucket, downloads):
    with pytest.raises(NoAudioError, match=r"s3://music/gone: nothing lies there"):
        open_listing("s3://music/gone", downloads)
    with pytest.raises(NoAudioError, match=r"s3://no-such-bucket: cannot be reached .*check the address"):
        open_listing("s3://no-such-bucket", downloads)


def test_missing_credentials_are_told_of(bucket, downloads, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(NoAudioError, match=r"cannot be reached .*set AWS_ACCESS_KEY_ID .*FSSPEC_S3_ANON"):
        open_listing("s3://music/x", downloads)


def test_a_manifest_in_a_bucket_names_what_lies_beside_it(bucket, downloads, tmp_path):
    (tmp_path / "private.wav").touch()
    rows = ["path", "one/a.wav", f"{tmp_path}/private.wav", "../b.wav", "gone.wav", "s3://music/other/c.wav"]
    put(bucket, **{"band/list.csv": "\n".join(rows).encode(), "band/one/a.wav": b"a", "other/c.wav": b"c"})
    scan = scan_input(open_listing("s3://music/band/list.csv", downloads))
    assert [song.name for song in scan.songs] == ["one/a", "c"]
    reasons = {one.path: one.reason for one in scan.set_aside}
    assert "a remote manifest names what lies below it" in reasons["list.csv:3"]
    assert "a remote manifest names what lies below it" in reasons["list.csv:4"]
    assert "cannot be fetched" in reasons["list.csv:5"]


def test_a_scan_of_a_bucket_is_kept_as_a_manifest_of_addresses(bucket, downloads, tmp_path):
    put(bucket, **{"band/one/drums.wav": b"drums", "band/one/bass.wav": b"bass", "band/one/drums.mid": b"M"})
    listing = open_listing("s3://music/band", downloads)
    scan = scan_input(listing)
    write_manifest_csv(scan, tmp_path / "kept.csv", listing.address)
    assert "s3://music/band/one/drums.wav" in (tmp_path / "kept.csv").read_text()
    assert scan_input(open_listing(tmp_path / "kept.csv", downloads)).songs == scan.songs


def test_metadata_of_a_bucket_is_fetched_to_be_read(bucket, downloads):
    put(bucket, **{"manifest.csv": b"path,stem\na.wav,drums\n", "a.wav": b"a", "b.wav": b"b"})
    scan = scan_input(open_listing("s3://music", downloads), "manifest")
    assert [list(song.stems) for song in scan.songs] == [["drums"]]
    assert [(one.path, one.reason) for one in scan.set_aside] == [("b.wav", "the manifest does not name it")]
    assert fetched(downloads) == ["manifest.csv"]


# Other stores


def test_any_store_of_fsspec_will_do(downloads):
    memory = fsspec.filesystem("memory")
    memory.pipe("/listing-test/a.wav", b"a")
    try:
        for address in ("memory://listing-test", Path("memory://listing-test")):  # a Path drops a slash
            listing = open_listing(address, downloads)
            listing.fetch(listing.path("a.wav"))
            assert listing.path("a.wav").read_bytes() == b"a"
        assert open_listing("memory://listing-test/a.wav", downloads).names == ["a.wav"]
    finally:
        memory.rm("/listing-test", recursive=True)


def test_a_missing_package_is_named_with_its_remedy(downloads, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ConfigError, match=r"s3://: a package .*pip install 'waveband\[remote\]'"):
        open_listing("s3://music", downloads)


@pytest.mark.parametrize(("protocol", "package"), [("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_missing_package_that_is_no_part_of_remote_is_named(downloads, monkeypatch, protocol, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'waveband\[remote\]' {package}$"):
        open_listing(f"{protocol}://bucket/music", downloads)


def test_a_store_that_lacks_a_setting_is_told_in_words(downloads, monkeypatch):
    def lacks_account(*args, **more):
        raise ValueError("Must provide an account_name")

    monkeypatch.setattr(fsspec, "filesystem", lacks_account)
    with pytest.raises(ConfigError, match=r"abfs://: cannot be opened \(ValueError: .*account_name.*adlfs"):
        open_listing("abfs://music", downloads)


@pytest.mark.parametrize(
    "address", ["nonsense://x", "file:///etc/passwd", "local:///etc", "ftp://localhost/x/", "sftp://h/x"]
)
def test_addresses_of_no_use_are_refused_with_those_that_are(address, downloads):
    with pytest.raises(ConfigError, match=r"no kind of address that is known; expected .*s3://, gs://"):
        open_listing(address, downloads)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://me:secret@host/a/b.wav?token=secret", "https://host/a/b.wav"),
        ("s3://bucket/what?.wav", "s3://bucket/what?.wav"),
        ("s3://key@bucket/a@b.wav", "s3://bucket/a@b.wav"),
        ("a@b?.wav", "a@b?.wav"),
        (
            "postgresql://host/db?user=ada&password=secret&connect_timeout=9",
            "postgresql://host/db?user=ada&password=***&connect_timeout=9",
        ),
        ("postgresql://?host=h&password=secret", "postgresql://?host=h&password=***"),
    ],
)
def test_an_address_is_told_without_what_only_its_reader_should_know(address, told):
    assert stores.public_address(address) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("asked http://me:secret@host:1/api (refused)", "asked http://host:1/api (refused)"),
        ("postgresql+psycopg2://me:se@cret@host/db is closed", "postgresql+psycopg2://host/db is closed"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("mysql://host/db?passwd=se)cret&ssl=1 is closed", "mysql://host/db?passwd=***&ssl=1 is closed"),
    ],
)
def test_a_text_is_told_without_the_passwords_of_its_addresses(text, told):
    assert stores.public_text(text) == told


def test_an_audio_source_names_the_place_to_be(downloads):
    memory = fsspec.filesystem("memory")
    memory.pipe("/listing-test/a.wav", b"a")
    try:
        listing = open_listing("memory://listing-test", downloads)
        (song,) = scan_input(listing).songs
        assert song.stems == {"mix": [AudioSource(listing.path("a.wav"))]}
        assert listing.address(listing.path("a.wav")).endswith("/listing-test/a.wav")
    finally:
        memory.rm("/listing-test", recursive=True)
