"""A server of its own for each project, and a Chromium that drives the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, Start, serve

from dpcenet.data.phantom.phantom import write_phantoms

pytest.importorskip("fastapi", reason="the page needs the extra `app`")
SHAPE, SPACING = (10, 48, 48), (11.0, 6.0, 6.0)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (  # no sandbox in containers; no GPU: WebGL is drawn by the processor; nothing is fetched
    *("--no-sandbox", "--disable-gpu-compositing", "--use-gl=angle", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--force-color-profile=srgb"),
)


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts servers; ends them."""
    servers: list[Served] = []

    def start(folder: Path, root: Path, *flags: str) -> Served:
        servers.append(serve(folder, root, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        server.process.wait(20)
        server.close()


@pytest.fixture(scope="session")
def running(
    phantoms: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One server for the tests that leave it as it was: starting one takes seconds."""
    served = serve(phantoms[0][0].parent, tmp_path_factory.mktemp("running") / "project")
    yield served
    served.process.terminate()
    served.process.wait(20)
    served.close()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Four scans in one folder, their labels in another."""
    place = tmp_path_factory.mktemp("phantoms")
    pairs = write_phantoms(place / "all", 4, shape=SHAPE, spacing=SPACING)
    for name, index in (("scans", 0), ("truth", 1)):
        (place / name).mkdir()
        for pair in pairs:
            shutil.copy(pair[index], place / name)
    return [(place / "scans" / image.name, place / "truth" / label.name) for image, label in pairs]


@pytest.fixture
def scans(phantoms: list[tuple[Path, Path]]) -> Path:
    """The folder of the scans."""
    return phantoms[0][0].parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of 1280 x 800; what its console says against it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en")
    opened = context.new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    opened.set_default_timeout(120_000)  # a busy machine is no error of the page
    yield opened
    context.close()
    # A killed server, and answers that a test asks for, are no errors of the page.
    assert not [text for text in said if not re.search(r"ERR_CONNECTION|status of", text)]


@pytest.fixture
def picture() -> Callable[[Any, str], None]:
    """Keeps a picture of the page in the folder DPCENET_PICTURES, for docs/app.md."""
    folder = os.environ.get("DPCENET_PICTURES")

    def keep(page: Any, name: str) -> None:
        if folder:
            page.wait_for_timeout(500)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return keep
