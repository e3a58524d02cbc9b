"""Remote stores through fsspec: opened with little patience, listed, and their refusals put in words.

Knows nothing of what files are for or where they are kept. The invariants: a store that is not there is
told of within seconds; and of the links on a server's index pages none is followed that leads outside
the address given.
"""

import errno
import html
import re
from collections.abc import Mapping
from posixpath import basename
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from wavenet.errors import ConfigError, NoAudioError

CONNECT_SECONDS = 5
SILENCE_SECONDS = 15
"""So long a server may say nothing before it counts as not there."""
MOST_PAGES, DEEPEST_PAGE = 10_000, 32
"""Index pages that are read of one server: its links may lead in circles."""
STRONG_MARKS = ("ETag", "etag", "md5", "Content-MD5", "Digest", "sha", "crc32c")
WEAK_MARKS = ("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "created", "generation")
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "http": "aiohttp",
    "https": "aiohttp",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
"""The kinds of address there are, and the package of each. Of fsspec's those that lead to other machines,
and not to any file of this one; ftp and sftp are left out, for their keys do not name the host."""
SECRET = re.compile(r"((?:password|passwd|pwd)=)[^&\s]+", re.IGNORECASE)
"""In a query such as `?user=ada&password=...` of a database's address."""
HIDDEN = r"\1***"
IN_REMOTE = frozenset({"s3fs", "aiohttp", "fsspec"})
"""Packages that come with `waveband[remote]`."""
ADDRESSES = "s3://, gs://, az://, abfs://, hf://, https:// or http://"


def is_address(text: str) -> bool:
    """Whether a text names something of a remote store, such as s3://bucket/music."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text) is not None


def is_known(address: str) -> bool:
    """Whether an address is of a kind that can be fetched, if its packages are there."""
    return protocol_of(address) in PACKAGES


def protocol_of(address: str) -> str:
    """What stands before `://`."""
    return address.partition("://")[0]


def is_web(address: str) -> bool:
    """Whether an address is a web server's, whose files are known by links alone."""
    return address.startswith(("http://", "https://"))


def quote_name(address: str, name: str) -> str:
    """A name as it stands in addresses of that kind."""
    return quote(name) if is_web(address) else name


def last_name(address: str) -> str:
    """The last part of an address, as a person would write it."""
    return unquote(basename(urlsplit(address).path)) if is_web(address) else basename(address)


def public_address(address: str) -> str:
    """An address without what only its reader should know: a name, a password, a signed query."""
    if not is_address(address):
        return address
    protocol, _, rest = address.partition("://")
    host, slash, key = rest.partition("/")
    key = key.partition("?")[0] if is_web(address) else key
    return SECRET.sub(HIDDEN, f"{protocol}://{host.rpartition('@')[2]}{slash}{key}")


def public_text(text: str) -> str:
    """A text, such as another library's error, whose addresses are without names and passwords."""
    return SECRET.sub(HIDDEN, re.sub(r"(?<=://)[^/\s]*@", "", text))


def open_store(protocol: str) -> Any:
    """A file system of fsspec's; credentials and endpoints come from where it looks for them.

    Raises ConfigError where the protocol is of no use, a package for it is missing, or it lacks a setting.
    """
    if protocol not in PACKAGES:
        raise unknown_address(f"{protocol}://")
    try:
        import fsspec

        # an instance of our own: fsspec would hand out one that remembers yesterday's listing
        store = fsspec.filesystem(protocol, skip_instance_cache=True, **_limit_patience(protocol))
    except ImportError as error:
        raise missing_package(f"{protocol}://", error) from None
    except Exception as error:  # such as an account that is not named: each store has its own kinds
        raise ConfigError(
            f"{protocol}://: cannot be opened ({brief(error)}); set what {PACKAGES[protocol]} reads from the "
            "environment, or fsspec's configuration"
        ) from None
    if protocol in {"s3", "s3a"}:
        store.retries = 2
    return store


def unknown_address(address: str) -> ConfigError:
    """What to tell of an address of a kind that nothing is known of."""
    return ConfigError(
        f"{address}: no kind of address that is known; expected a path, or an address that begins with "
        f"{ADDRESSES}; any other store has to be mounted as a folder, or copied to one"
    )


def missing_package(address: str, error: ImportError) -> ConfigError:
    """What to tell of an address whose package is not installed: what to install."""
    package = PACKAGES[protocol_of(address)]
    more = "" if package in IN_REMOTE else f" {package}"
    return ConfigError(
        f"{address}: a package for it is missing ({error}); pip install 'waveband[remote]'{more}"
    )


def _limit_patience(protocol: str) -> dict[str, Any]:
    """Time limits, where the user's own fsspec settings state none."""
    import fsspec.config

    configured = fsspec.config.conf.get(protocol, {})
    if protocol in {"http", "https"}:
        import aiohttp

        timeout = aiohttp.ClientTimeout(None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        return {"client_kwargs": {"timeout": timeout, **configured.get("client_kwargs", {})}}
    if protocol in {"s3", "s3a"}:
        limits = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": SILENCE_SECONDS,
            "retries": {"max_attempts": 0},
        }
        return {"config_kwargs": {**limits, **configured.get("config_kwargs", {})}}
    return {}


def read_version(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a store says by which a changed file is told: its checksum, else its times; and its size."""
    marks = [mark for mark in STRONG_MARKS if facts.get(mark)]
    marks = marks or [mark for mark in WEAK_MARKS if facts.get(mark)]
    return {mark: str(facts[mark]) for mark in [*marks, "size"] if mark in facts}


def list_keys(store: Any, root: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key and facts of every file below a key, by its name below it; of the key itself if it is a file."""
    found = {}
    for key, facts in store.find(root, detail=True).items():
        if facts.get("type") != "directory" and not key.endswith("/"):  # no folder, and no placeholder of one
            name = key[len(root) :].removeprefix("/") if key != root else basename(key)
            found[name] = (key, facts or store.info(key))
    return found


def list_pages(store: Any, root: str) -> tuple[dict[str, str], dict[str, str]]:
    """Addresses by name of all files that a server's index pages name below root, which ends in `/`.

    Beside them, for folders that it would not show, the reason.
    """
    files: dict[str, str] = {}
    locked: dict[str, str] = {}
    pages, seen = [root], {root}
    while pages:
        page = pages.pop()
        try:
            links = [html.unescape(entry["name"]) for entry in store.ls(page, detail=True)]
        except Exception as error:
            if page == root or not is_refusal(error):
                raise
            locked[unquote(page[len(root) : -1])] = f"a folder that cannot be listed ({brief(error)})"
            continue
        for link in sorted(set(links) - seen):
            if name := _name_below(root, link):
                seen.add(link)
                if link.endswith("/"):
                    pages.append(link)
                else:
                    files.setdefault(name, link)
        if len(seen) - len(files) > MOST_PAGES:
            raise NoAudioError(f"{root}: more than {MOST_PAGES} index pages; name a folder further in")
    return files, locked


def _name_below(root: str, link: str) -> str | None:
    """The name below root that a link leads to; None where it leads elsewhere."""
    if not link.startswith(root) or re.search(r"[?#]", link):
        return None
    parts = [unquote(part) for part in link[len(root) :].rstrip("/").split("/") if part != "."]
    name = "/".join(parts)
    if leads_elsewhere(name) or name.count("/") != len(parts) - 1 or len(parts) > DEEPEST_PAGE:
        return None
    return name


def leads_elsewhere(name: str) -> bool:
    """Whether a name is no plain path downwards."""
    return not {"", ".", ".."}.isdisjoint(name.split("/"))


def is_refusal(error: Exception) -> bool:
    """Whether a store answered, and the answer was no: its other files may be had."""
    cause = error.__cause__ or error
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in {408, 429}  # a timeout, too many requests
    return isinstance(cause, FileNotFoundError | PermissionError)


def out_of_reach(address: str, error: Exception) -> NoAudioError:
    """What to tell of an address that could not be listed or read, with the remedy."""
    cause = error.__cause__ or error
    if "Credentials" in type(cause).__name__ or isinstance(cause, PermissionError):
        remedy = (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of one who may read it; "
            "FSSPEC_S3_ANON=true for a public bucket"
        )
    elif getattr(cause, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
        remedy = "make room in the workspace, where downloads are kept; then run again"
    elif is_refusal(error):
        remedy = "check the address and who may read it"
    else:
        remedy = "check the address, the network and, for s3, AWS_ENDPOINT_URL; then run again"
    return NoAudioError(f"{address}: cannot be reached ({brief(error)}); {remedy}")


def brief(error: Exception) -> str:
    """An error of a store's in one line."""
    cause = error.__cause__ or error
    text = " ".join(str(getattr(cause, "message", "") or cause).split())
    return f"{type(cause).__name__}: {text[:200]}" if text else type(cause).__name__
