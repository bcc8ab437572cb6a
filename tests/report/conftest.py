"""A headless Chromium for the tests in this folder, started once for all of them.

Tests that use it carry a mark, so that with pytest-xdist they share one worker::

    pytestmark = pytest.mark.xdist_group("browser")
"""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

# a font, for without one a page has no width to overflow with
PACKAGES = ["chromium", "chromium-driver", "fonts-dejavu-core"]

OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium, driven through its own chromedriver; it logs its console and every request.

    Where it is not installed, root installs it from Debian. Where that fails the test is skipped,
    and in CI it fails.
    """
    problem = _install()
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        reason = f"no headless browser: {problem}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


def _install() -> str:
    """Install what is missing, where possible; returns the reason why not, else nothing."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"install Debian's packages {' '.join(PACKAGES)}"
    apt = "apt-get -q -o DPkg::Lock::Timeout=180"
    install = f"{apt} install -y --no-install-recommends {' '.join(PACKAGES)}"
    done = subprocess.run(
        ["sh", "-c", f"{install} || {{ {apt} update && {install}; }}"],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip()
