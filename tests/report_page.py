"""A page of ours in a real browser."""

import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

FLAGS = (
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist", "--window-size=1400,900",
)  # fmt: skip


def start_browser():
    """A driver of a headless chromium; skips the test where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver_path = shutil.which("chromedriver")
    if driver_path is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    if chromium := shutil.which("chromium"):
        options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    return driver


class Page:
    """The report in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def open(self, path, address: str = "") -> "Page":
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + address)
        self.wait("return document.documentElement.dataset.ready === 'all'")
        return self

    def wait(self, script: str):
        for _ in range(150):
            if found := self.run(script):
                return found
            time.sleep(0.1)
        raise AssertionError(f"waited in vain: {script}; {self.run('return document.body.innerText')[:2000]}")

    def press(self, key: str) -> None:
        """A key by selenium's name for it."""
        from selenium.webdriver import ActionChains, Keys

        ActionChains(self.driver).send_keys(getattr(Keys, key)).perform()

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def names(self) -> list[str]:
        return self.run("return [...document.querySelectorAll('#case-table tbody th')].map((x) => x.textContent)")

    def case(self) -> str | None:
        script = "const d = document.getElementById('case'); return d.open ? d.querySelector('h2').textContent : null"
        return self.run(script)

    def view(self, name: str) -> None:
        self.click(f".views [data-value={name}]")
        self.wait(f"return document.getElementById('stage').dataset.ready === '{name}'")

    def colors(self, selector: str) -> int:
        """How many colours an element shows on the screen."""
        png = self.driver.find_element("css selector", selector).screenshot_as_png
        return len(np.unique(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3), axis=0))

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
