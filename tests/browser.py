"""Headless Chromium for tests, spoken to as WebDriver has it (W3C)."""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not installed"
)


class Browser:
    """One page, its console and its requests."""

    def __init__(self, driver: str, profile: Path) -> None:
        switches = ["headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                    "disable-background-networking", f"user-data-dir={profile}"]  # fmt: skip
        options = {"args": [f"--{switch}" for switch in switches], "binary": CHROMIUM}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        self._driver = driver
        self._session = self._post("/session", capabilities={"alwaysMatch": wanted})["sessionId"]

    def open(self, url: str) -> None:
        self._post(f"/session/{self._session}/url", url=url)

    def screenshot(self, path: Path, width: int = 1600, height: int = 1000) -> Path:
        """The page as a PNG, in a window of that size."""
        self._post(f"/session/{self._session}/window/rect", width=width, height=height)
        time.sleep(1)  # to lay it out
        with urllib.request.urlopen(
            f"{self._driver}/session/{self._session}/screenshot", timeout=60
        ) as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))
        return path

    def wait_for_text(self, *texts: str, seconds: float = 90) -> str:
        """All text of the page, once these are in it."""
        end = time.monotonic() + seconds
        seen = ""
        while time.monotonic() < end:
            seen = self.ask("done(document.body ? document.body.innerText : '')")
            if all(text in seen for text in texts):
                return seen
            time.sleep(0.5)
        raise AssertionError(f"no {texts} in {seen!r}")

    def ask(self, script: str) -> Any:
        """What a script hands to `done`."""
        script = f"const done = arguments[0]; {script}"
        return self._post(f"/session/{self._session}/execute/async", script=script, args=[])

    @property
    def console(self) -> list[str]:
        return [entry["message"] for entry in self._log("browser")]

    def requests_of(self, page: str) -> list[str]:
        """Addresses that a page asked for, its own among them."""
        return [params["request"]["url"] for params in self._sent() if params["documentURL"] == page]

    def requests(self) -> list[str]:
        """Addresses that were asked for, whichever page did."""
        return [params["request"]["url"] for params in self._sent()]

    def _sent(self) -> list[dict[str, Any]]:
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        urllib.request.urlopen(
            urllib.request.Request(f"{self._driver}/session/{self._session}", method="DELETE"), timeout=30
        )

    def _log(self, kind: str) -> list[dict]:
        return self._post(f"/session/{self._session}/se/log", type=kind)

    def _post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(f"{self._driver}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


@pytest.fixture
def browser(tmp_path):
    """A browser with a profile of its own."""
    server = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(
            found[1] for line in server.stdout if (found := re.search(r"successfully on port (\d+)", line))
        )
        browser = Browser(f"http://127.0.0.1:{port}", tmp_path / "profile")
        yield browser
        browser.close()
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
