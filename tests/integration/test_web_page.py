"""The page in a real browser. Skipped where Chromium, its driver or selenium is missing."""

import shutil
import signal

import pytest
from farm_support import launch, numbered, saved, write_raw
from net_support import PATIENCE, free_port, wait_until

from zaudio import events
from zaudio.errors import ZaudioError
from zaudio.facts import BatchProgress, Listed, Progress, Row
from zaudio.result import read_address
from zaudio.watching.ledger import Ledger
from zaudio.watching.stream import Stream
from zaudio.web import Site, parse_address
from zaudio.web.client import fetch

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("chromium or chromedriver is not installed", allow_module_level=True)

HOSTILE = "<script>document.title='robbed'</script><img src=x onerror=alert(1)>"
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def wait(condition):
    wait_until(condition, "the page shows it", within=3 * PATIENCE)


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1240,1000"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


def text_of(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", name)


def errors(browser):
    """What the browser's console says, but for connections that are refused while no coordinator is alive."""
    return [line["message"] for line in browser.get_log("browser") if "ERR_CONNECTION_REFUSED" not in line["message"]]


@pytest.fixture
def farm(tmp_path):
    """A farm that stops in the middle: `start` starts its coordinator, and `go_on` lets it do the rest."""
    running = []
    take, folder = write_raw(tmp_path / "take.raw", numbered(400_000)), tmp_path / "out"
    limit = tmp_path / "limit"
    limit.write_text("200000")
    endpoint, port = f"tcp://127.0.0.1:{free_port()}", free_port()

    class Farm:
        address = None
        out = folder

        def go_on(self):
            limit.write_text("0")

        def start(self):
            job = launch(
                *("coordinator", take, "--bind", endpoint, "-o", str(folder), "--chunk", "2000f", "--web", str(port)),
                *("--op", f"farm_ops:down_to:limit={limit}", "--web-linger", "0", "--progress", "none"),
            )
            running.append(job)
            wait(lambda: read_address(folder) is not None and self.answers())
            return job

        def answers(self):
            try:
                self.address = "#".join(read_address(folder))
                return fetch(self.address)
            except (TypeError, ZaudioError):  # not yet
                return None

        def work(self, name):
            worker = launch("worker", endpoint, "--name", name, "--allow", "farm_ops")
            running.append(worker)
            return worker

    yield Farm()
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in running:
        process.communicate(timeout=PATIENCE)


@pytest.mark.timeout(300)
def test_page_loads_updates_escapes_and_survives_a_killed_coordinator(browser, farm):
    job = farm.start()
    farm.work(HOSTILE)
    farm.work("steady")
    browser.get(farm.address)
    wait(lambda: HOSTILE in text_of(browser, "rows") and "steady" in text_of(browser, "rows"))

    assert "#" not in browser.current_url
    assert farm.address.partition("#")[2] not in browser.page_source
    assert browser.get_cookies() == []
    assert "robbed" not in browser.title
    assert browser.execute_script("return document.images.length + document.querySelectorAll('td script').length") == 0

    wait(lambda: int(text_of(browser, "chunks").split()[0]) >= 90)
    wait(lambda: saved(farm.out) >= 2000 * 4)  # a chunk at least: a later life goes on from there
    assert errors(browser) == []

    job.kill()
    job.communicate()
    wait(lambda: "does not answer" in text_of(browser, "gone"))
    assert not browser.execute_script("return document.getElementById('gone').hidden")

    farm.start()
    farm.work("fresh")  # the others look for the next coordinator only when they have missed this one
    wait(lambda: browser.execute_script("return document.getElementById('gone').hidden"))
    wait(lambda: text_of(browser, "state") == "running")
    assert "an interrupted job goes on" in text_of(browser, "news")
    assert errors(browser) == []

    farm.go_on()
    wait(lambda: "published" in text_of(browser, "report"))
    assert errors(browser) == []


@pytest.mark.extended
def test_page_works_on_a_narrow_screen_and_with_its_tab_loaded_again(browser, farm):
    farm.start()
    browser.set_window_size(390, 900)
    browser.get(farm.address)
    wait(lambda: text_of(browser, "title") == "take.raw")
    browser.refresh()
    wait(lambda: text_of(browser, "title") == "take.raw")
    name = "w" * 100
    farm.work(name)
    wait(lambda: name in text_of(browser, "rows"))
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script(
        "const b = document.querySelector('#rows').closest('.scroll'); return b.scrollWidth <= b.clientWidth"
    )
    label = browser.execute_script("return document.getElementById('map').getAttribute('aria-label')")
    assert "waiting" in label
    assert errors(browser) == []


@pytest.mark.extended
def test_page_without_its_token_says_so(browser, farm):
    farm.start()
    browser.get(farm.address.partition("#")[0])
    wait(lambda: "token is missing" in text_of(browser, "gone"))


@pytest.mark.extended
def test_page_lists_the_recordings_of_a_batch_and_the_workers_that_were_refused(browser):
    job = {"at": 0.0, "job": "ab"}
    sizes = dict.fromkeys(("chunks", "chunk_frames", "frames", "channels", "samplerate", "bytes"), 0)
    rows = (Row("b.wav", "running", 0.5), Row(HOSTILE, "failed", 0.0, HOSTILE), Row("c.wav", "waiting", 0.0))
    jobs = Listed(rows, 99_997, {"running": 1, "failed": 1, "waiting": 99_998})
    progress = BatchProgress(events.State.RUNNING, 100_000, 1, 160, 40, 1, 0, 0, 2.0)
    stream = Stream(Ledger())
    with Site(parse_address("0")) as site:
        site.open("t" * 48, stream.subscribe(), lambda: progress, title="out", jobs=lambda: jobs)
        stream.publish(events.Started(**job, **sizes, format="", recordings=100_000))
        stream.publish(events.Refused(**job, worker=HOSTILE, host="attic", reason="it lacks gain"))
        browser.get(site.url)
        wait(lambda: "100,000 recordings" in text_of(browser, "chunks") and text_of(browser, "rows"))
        assert text_of(browser, "jobs-counts") == "1 running, 1 failed, 99,998 waiting"
        assert text_of(browser, "jobs-more") == "and 99,997 recordings more"
        recordings = text_of(browser, "jobs-rows")
        assert "b.wav\u25b6running50%" in recordings
        assert f"{HOSTILE}\u2715failed{HOSTILE}" in recordings
        assert f"{HOSTILE}attic\u2298refusedit lacks gain" in text_of(browser, "rows")
        assert browser.title != "robbed"
        browser.set_window_size(390, 900)
        for table in ("rows", "jobs-rows"):
            assert browser.execute_script(
                "const b = document.getElementById(arguments[0]).closest('.scroll');"
                "return b.scrollWidth <= b.clientWidth",
                table,
            )
        assert errors(browser) == []


@pytest.mark.extended
def test_page_cuts_no_name_fits_at_every_width_and_has_a_bar_in_forced_colours(browser):
    job, names = {"at": 0.0, "job": "ab"}, [f"machine-of-a-cluster-with-a-long-name-{n}.example.org" for n in (1, 2)]
    progress = Progress(events.State.RUNNING, 4, 3, 10_000, 9960, 1, 0, 0, 2.0)
    sizes = {"chunks": 4, "chunk_frames": 10, "frames": 40, "channels": 1, "samplerate": 44100, "bytes": 160}
    stream = Stream(Ledger())
    with Site(parse_address("0")) as site:
        site.open("t" * 48, stream.subscribe(), lambda: progress, title="take.wav")
        stream.publish(events.Started(**job, **sizes, format="f32le"))
        for name in names:
            stream.publish(events.Joined(**job, worker=name, session=name, host=name))
        stream.publish(events.Lost(**job, worker=names[0], session=names[0], reason="no sign of life for 5.1 s"))
        browser.get(site.url)
        wait(lambda: names[1] in text_of(browser, "rows") and "most" in text_of(browser, "speed-t"))
        for width in (1240, 1050, 870, 850, 690, 670, 530, 390):
            browser.set_window_size(width, 900)
            assert browser.execute_script(
                "const b = document.querySelector('#rows').closest('.scroll'); return b.scrollWidth <= b.clientWidth"
            ), width
            assert browser.execute_script(
                "return [...document.querySelectorAll('#rows th')].every((e) =>"
                " e.scrollWidth <= e.clientWidth && e.clientWidth >= 120 && getComputedStyle(e).whiteSpace == 'normal')"
            )
        assert "most 0 B/s" in text_of(browser, "speed-t")
        assert (text_of(browser, "percent"), browser.title) == ("99%", "99% take.wav"), "100% is the end"
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "forced-colors", "value": "active"}]}
        )
        fill, track = (
            browser.execute_script("return getComputedStyle(document.getElementById(arguments[0])).backgroundColor", id)
            for id in ("fill", "bar")
        )
        assert fill != track
        assert errors(browser) == []
