"""A real JupyterLab and a real browser for tests: started on a free port, nothing left behind."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
START_S_MAX, STEP_S_MAX = 240.0, 300.0
"""How long a server may take to start, and anything on the page to happen; machines are busy."""

SETTINGS = ROOT / ".ci" / "lab-settings.json"
"""What the set-up tells JupyterLab; without it a question about news covers the page."""


class Lab(NamedTuple):
    """A running server."""

    url: str
    token: str
    process: subprocess.Popen[bytes]

    def page(self, notebook: str) -> str:
        """The address of a notebook in its folder, opened alone in a new workspace."""
        return f"{self.url}/lab/tree/{notebook}?reset&token={self.token}"

    def ask(self, path: str) -> Any:
        """The answer of the server's programming interface."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}", headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def missing() -> str:
    """Why no browser test can run here, or nothing."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (it is in the extra 'dev')"
    if not any(map(shutil.which, BROWSERS)) or not shutil.which("chromedriver"):
        return "no Chromium with its driver: apt-get install chromium chromium-driver"
    if not shutil.which("make"):
        return "no make, by which JupyterLab is started"
    return ""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """This process's environment with all of Jupyter's folders in one that is thrown away."""
    folders = {
        "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime", "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces", "IPYTHONDIR": home / "ipython",
    }  # fmt: skip
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for plugin, settings in json.loads(SETTINGS.read_text(encoding="utf-8")).items():
        package, _, name = plugin.partition(":")
        place = home / "settings" / package / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(settings), encoding="utf-8")
    # A kernel of the same name that the user has installed must not take the place of ours.
    foreign = home / "data" / "kernels" / "python3"
    foreign.mkdir(parents=True, exist_ok=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "Foreign", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: str(folder) for name, folder in folders.items()}
    return {**os.environ, **own, "PATH": path, "JUPYTER_NO_CONFIG": ""}


def lab_command() -> list[str]:
    """What `make lab` runs, with this environment's programs."""
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "lab", f"BIN={folder}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return shlex.split(done.stdout.strip().splitlines()[-1])


@contextmanager
def running_lab(home: Path) -> Iterator[Lab]:
    """`make lab` over the folder `home/notebooks`; it and its kernels are gone afterwards."""
    port, token = free_port(), secrets.token_hex(16)
    command = [
        *lab_command(), "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
    ]  # fmt: skip
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(home), cwd=home, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        lab = Lab(f"http://127.0.0.1:{port}", token, process)
        try:
            wait(lambda: _is_up(lab, home), "JupyterLab", START_S_MAX)
            yield lab
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, which ends its kernels; insist on the group when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_up(lab: Lab, home: Path) -> bool:
    if lab.process.poll() is not None:
        raise AssertionError((home / "server.log").read_text(encoding="utf-8")[-3000:])
    try:
        return bool(lab.ask("status"))
    except (urllib.error.URLError, OSError):
        return False


def wait(happened: Callable[[], Any], what: str, seconds: float = STEP_S_MAX) -> Any:
    """Wait until something is true and return it; fail with its name when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = happened()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")
