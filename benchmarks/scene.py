"""A job that is worth looking at, and its pictures: those of docs/seeing.md.

Four workers come to one coordinator: studio, attic, which is slow, cellar, which is killed in the middle, and lab,
which is refused, since it does not allow the op's module. A browser looks at the page, as on a desk and as on a phone,
and again at the end. `zaudio status` and `zaudio log` tell the rest: that page has their words.

Needs Debian's chromium and chromium-driver, and selenium. All of it takes about a minute.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import scene_op

BENCHMARKS = Path(__file__).resolve().parent
DOCS = BENCHMARKS.parent / "docs"
SECONDS = 1800  # of the recording
MS = {"studio": 45, "cellar": 55, "attic": 260, "lab": 45}  # that a chunk takes
KILLED, REFUSED = "cellar", "lab"
KILLED_AT, LOOKED_AT = 20, 50  # percent that are done
PATIENCE = 60.0  # s
DESK, PHONE = (1240, 1.0), (390, 1.5)  # pixels of width, and device pixels in each
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
HEIGHT = """
const element = document.getElementById(arguments[0]);
return element ? element.closest("section").offsetTop : document.body.offsetHeight;
"""
# One machine stands for several: a worker is told the name of its own.
WORKER = """
import socket, sys
host = sys.argv.pop(1)
socket.gethostname = lambda: host
from zaudio.cli.app import app
app()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of seeing.md and its pictures; docs by default")
    arguments = parser.parse_args()
    os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # for the report's sake
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as driver:
        play(Path(folder), driver, arguments.docs.resolve())


def play(folder: Path, driver: Any, docs: Path) -> None:
    """Run the job, look at it, and write down what is seen."""
    zaudio("generate", "interview.raw", "--seconds", SECONDS, "--quiet", cwd=folder)
    shutil.copy(BENCHMARKS / "scene_op.py", folder)
    with ExitStack() as running:
        job, url, endpoint = coordinator(folder)
        running.callback(end, job)
        driver.get(url)
        workers = {name: worker(name, endpoint, folder) for name in MS}
        for process in workers.values():
            running.callback(end, process)
        wait(lambda: done(driver) >= KILLED_AT)
        workers[KILLED].send_signal(signal.SIGKILL)
        wait(lambda: done(driver) >= LOOKED_AT and "no sign of life" in text_of(driver, "rows"))
        pictures = {"page-light": picture(driver, DESK, dark=False), "page-dark": picture(driver, PHONE, dark=True)}
        status = zaudio("status", "out", cwd=folder)
        wait(lambda: "published" in text_of(driver, "report"))
        pictures["page-end"] = picture(driver, DESK, dark=False, until="map-h")
        job.wait()
    retell(docs / "seeing.md", {"interview.raw: ": status, "job ": zaudio("log", "events.jsonl", cwd=folder)})
    for name, png in pictures.items():
        write(docs / f"{name}.png", png)


# Processes


def coordinator(folder: Path) -> tuple[subprocess.Popen[str], str, str]:
    """Start the coordinator; return it, the page's address with its token, and the workers' address."""
    command = [sys.executable, "-m", "zaudio", "coordinator", "interview.raw", "-o", "out"]
    command += ["--op", "scene_op:restore", "--chunk", "256KiB", "--audit", "1"]
    command += ["--bind", "tcp://127.0.0.1:0", "--events", "events.jsonl", "--web", "0"]
    path = folder / "coordinator.txt"
    with path.open("wb") as output:
        job = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {scene_op.SPEED: "1"},
            stdout=output,
            stderr=output,
        )
    said = re.compile(r"zaudio worker (\S+)(?s:.*)see it at: (\S+)")
    wait(lambda: said.search(path.read_text()) or job.poll() is not None)
    if (found := said.search(path.read_text())) is None:
        raise SystemExit(f"the coordinator ended\n{path.read_text()}")
    return job, found[2], found[1]


def worker(name: str, endpoint: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker, as on a machine of that name."""
    allowed = ["--allow", "scene_op"] if name != REFUSED else []
    command = [sys.executable, "-c", WORKER, name, "worker", endpoint, "--name", name]
    speed = {scene_op.SPEED: str(MS[name])}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, *allowed], cwd=folder, env=os.environ | speed, stdout=quiet, stderr=quiet)


def zaudio(*arguments: object, cwd: Path) -> str:
    """Run a command; return its output."""
    command = [sys.executable, "-m", "zaudio", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
    process.wait()


def retell(page: Path, outputs: Mapping[str, str]) -> None:
    """Put outputs in the place of the blocks of a page that begin with those words."""
    text = page.read_text(encoding="utf-8")
    for words, output in outputs.items():
        block = "".join(f"    {line}\n" for line in output.splitlines())
        text, found = re.subn(rf"(?m)^    {re.escape(words)}.*\n(?:    .*\n)*", lambda _, block=block: block, text)
        if found != 1:
            raise SystemExit(f"{page}: {found} blocks begin with {words!r}")
    page.write_text(text, encoding="utf-8")


# The browser


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """Yield a browser."""
    try:
        from selenium import webdriver
    except ImportError:
        raise SystemExit("selenium is missing: pip install selenium") from None
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit("chromium or chromedriver is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*OPTIONS, f"--user-data-dir={folder / 'browser'}"):
        options.add_argument(option)
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


def text_of(driver: Any, name: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", name))


def done(driver: Any) -> float:
    """Return the percentage that the page shows."""
    found = re.match(r"[0-9.]+", text_of(driver, "percent"))
    return float(found[0]) if found else 0.0


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the page does not show what it should")
        time.sleep(0.05)


def picture(driver: Any, screen: tuple[int, float], *, dark: bool, until: str = "") -> bytes:
    """Return a picture of the whole page, or of what stands above the section of an element."""
    width, ratio = screen
    wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": ratio, "mobile": ratio > 1}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    # Two frames: the page draws its canvases again in the first.
    driver.execute_async_script("const go = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(go))")
    height = driver.execute_script(HEIGHT, until)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])


def write(path: Path, png: bytes) -> None:
    """Write a picture, with few colours if Pillow is here: it takes a third of the room then."""
    try:
        from PIL import Image
    except ImportError:
        path.write_bytes(png)
        return
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    few = whole.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps rare colours
    few.save(path, optimize=True)


if __name__ == "__main__":
    main()
