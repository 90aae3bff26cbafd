"""A JupyterLab page as a person uses it: run all, move a slider by key, press a button, look."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.lab import BROWSERS, Lab, wait

WIDTH, HEIGHT = 1600, 1000
HARMLESS = ("favicon",)
STALE_MAX = 20

def steady(look: Callable[[], Any]) -> Any:
    """What a look at the page gives, tried again where the page changed in between."""
    from selenium.common.exceptions import StaleElementReferenceException

    for _ in range(STALE_MAX):
        try:
            return look()
        except StaleElementReferenceException:
            continue
    return look()


SCREEN = "img.consensus-lab-screen"


class Page:
    """One notebook open in JupyterLab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def find(self, selector: str) -> list[Any]:
        """All elements of a CSS selector that stand on the page now."""
        from selenium.webdriver.common.by import By

        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def open(self, lab: Lab, notebook: str) -> None:
        """Open a notebook and wait until its cells are there and its kernel is idle.

        Whoever runs cells earlier is asked to select a kernel.
        """
        self.driver.get(lab.page(notebook))
        wait(lambda: self.find(".jp-Notebook .jp-Cell"), "the notebook's cells")
        wait(lambda: not self.find(".jp-NotebookPanel .jp-Spinner"), "the end of loading")
        wait(
            lambda: any(
                one["path"] == notebook and one["kernel"]["execution_state"] == "idle"
                for one in lab.ask("sessions")
            ),
            "a kernel that is idle",
        )
        idle = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
        wait(lambda: self.find(idle), "a page that knows it")

    def run_all(self) -> None:
        """Menu Run, Run All Cells."""
        menus = [item for item in self.find(".lm-MenuBar-item") if item.text == "Run"]
        menus[0].click()
        choice = '.lm-Menu-item[data-command="runmenu:run-all"]'
        wait(lambda: self.find(choice), "the Run menu")[0].click()

    def wait_for_text(self, text: str) -> None:
        """Wait until an output holds a text; no cell's source should hold it."""

        def is_there() -> bool:
            return any(text in one.text for one in self.find(".jp-OutputArea-output"))

        wait(lambda: steady(is_there), text)

    def errors(self) -> list[str]:
        """Errors of the page's scripts, and of cells."""
        logged = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and not any(word in entry["message"] for word in HARMLESS)
        ]
        cells = self.find('[data-mime-type="application/vnd.jupyter.stderr"], .jp-RenderedError')
        return logged + [cell.text for cell in cells]

    def press_key(self, selector: str, key: str, *, number: int = 0, times: int = 1) -> None:
        """Focus something and press a key."""
        from selenium.webdriver.common.keys import Keys

        self.show(selector, number)
        for _ in range(times):
            steady(lambda: self.find(selector)[number].send_keys(getattr(Keys, key)))

    def click(self, selector: str, number: int = 0) -> None:
        """Click on something that may have to be scrolled to."""
        self.show(selector, number)
        steady(lambda: self.find(selector)[number].click())

    def source(self, number: int = 0) -> str:
        """The picture in an explorer's screen, as its address with all data."""
        return str(steady(lambda: self.find(SCREEN)[number].get_attribute("src")))

    def alt(self, number: int = 0) -> str:
        """What that picture says of itself."""
        return str(steady(lambda: self.find(SCREEN)[number].get_attribute("alt")))

    def wait_for_change(self, before: str, number: int = 0) -> str:
        """Wait until the picture is another one, which has been drawn by the browser."""
        script = "return arguments[0].complete && arguments[0].naturalWidth > 0"

        def changed() -> bool:
            image = self.find(SCREEN)[number]
            is_new = image.get_attribute("src") != before
            return is_new and bool(self.driver.execute_script(script, image))

        wait(lambda: steady(changed), "another picture")
        return self.source(number)

    def show(self, selector: str, number: int = 0) -> None:
        """Scroll something to the middle of the page."""
        script = "arguments[0].scrollIntoView({block: 'center'})"
        steady(lambda: self.driver.execute_script(script, self.find(selector)[number]))

    def keep(self, folder: Path, name: str) -> Path:
        """Keep what is seen now as a picture."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{name}.png"
        assert self.driver.save_screenshot(str(target)), target
        print(f"screenshot: {target}")
        return target


@contextmanager
def opened_browser(profile: Path) -> Iterator[Page]:
    """A headless Chromium that reaches nothing but this machine."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-extensions",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Page(driver)
    finally:
        driver.quit()
