"""Takes the pictures of the console that docs/console.md shows: self-made things, a real server.

scripts/screenshots              # all of them, into docs/pictures/console
scripts/screenshots map-dark     # one
"""

import argparse
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playroom import playroom, things
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import serving

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "docs" / "pictures" / "console"
MOST_BYTES = 150_000
PATIENCE_MS = 90_000
DESK, PHONE = (1180, 820), (390, 844)
TALL = 4000


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: Of the file.
        act: What is done on the page before.
        page: Which page it begins on.
        theme: ``"light"`` or ``"dark"``.
        size: Of the window, in CSS pixels; the picture may be higher.
        is_empty: Whether nothing is stored in the space.
        most_high: How much of a long page is shown, in CSS pixels.
    """

    name: str
    act: Callable[[Page, Path], None]
    page: str = "try"
    theme: str = "light"
    size: tuple[int, int] = DESK
    is_empty: bool = False
    most_high: int = 1450


def nothing(page: Page, files: Path) -> None:
    """Show the page as it opens."""


def drop(name: str) -> Callable[[Page, Path], None]:
    """Return an act that gives the page a file and waits for its neighbours."""

    def act(page: Page, files: Path) -> None:
        choose_base(page)
        page.set_input_files("#file", files / name)
        expect(page.locator(".class").first).to_be_visible()
        seen(page)

    return act


def choose_base(page: Page) -> None:
    """Ask among the classes of what there is here, where that base is."""
    page.locator("#formats").filter(has_text="png").wait_for()
    has_it = page.locator("#knowledge option[value=playroom]").count()
    if has_it and not page.input_value("#classes"):
        page.locator("#more summary").click()
        page.locator("#knowledge").select_option("playroom")
        page.locator("#more summary").click()


def ask_of_scan(page: Page, files: Path) -> None:
    """Drop a scan, and ask among classes of one's own."""
    page.locator("#formats").filter(has_text="png").wait_for()
    page.locator("#more summary").click()
    page.fill("#classes", "chair, table, lamp, bookcase")
    drop("chair.ply")(page, files)
    page.wait_for_timeout(500)


def seen(page: Page) -> None:
    """Wait until every picture on the page has come."""
    page.wait_for_timeout(500)
    expect(page.locator(".waiting")).to_have_count(0)
    page.wait_for_timeout(300)


def words(page: Page, files: Path) -> None:
    choose_base(page)
    page.fill("#words", "something to keep me dry")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".hit").first).to_be_visible()
    seen(page)


def refuse(page: Page, files: Path) -> None:
    page.locator("#formats").filter(has_text="png").wait_for()
    page.set_input_files("#file", files / "holiday.png")
    expect(page.locator("#try-status.error")).not_to_be_empty()


def look_at_map(page: Page, files: Path) -> None:
    expect(page.locator("#map-legend li").first).to_be_visible()
    page.locator("#map-canvas").focus()
    for _ in range(14):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#map-item .hit")).to_be_visible()
    page.locator("#map-canvas").blur()
    seen(page)


def edit(page: Page, files: Path) -> None:
    page.locator("#base").select_option("playroom")
    page.locator("#class").select_option("kettle")
    expect(page.locator("#lines tbody tr").first).to_be_visible()
    page.fill("#reviewer", "Ada")
    row = page.locator("#lines tbody tr").nth(1)
    row.get_by_role("button", name="Edit").click()
    row.get_by_role("textbox").fill(
        "A kettle has a spout, a lid, and a handle that arches over it."
    )
    row.get_by_role("button", name="What changes?").click()
    expect(row.locator("ins")).to_be_visible()
    page.evaluate("document.activeElement.blur()")


def watch(page: Page, files: Path) -> None:
    page.locator("#align-modality").select_option("audio")
    page.set_input_files("#align-upload", files / "sounds.zip")
    page.locator("#align-learn").select_option("class_names")
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#runs .panel").first).to_contain_text("done", timeout=4 * PATIENCE_MS)
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#runs progress").first).to_be_visible()


SHOTS = (
    Shot("start-light", nothing),
    Shot("picture-light", drop("kettle.png")),
    Shot("picture-dark", drop("kettle.png"), theme="dark"),
    Shot("picture-phone", drop("kettle.png"), size=PHONE, most_high=1800),
    Shot("sound-light", drop("drum.wav")),
    Shot("scan-dark", ask_of_scan, theme="dark"),
    Shot("trace-light", drop("running.csv"), most_high=1250),
    Shot("words-phone-dark", words, size=PHONE, theme="dark", most_high=1400),
    Shot("error-light", refuse),
    Shot("empty-light", drop("kettle.png"), is_empty=True),
    Shot("map-dark", look_at_map, page="map", theme="dark"),
    Shot("map-phone", look_at_map, page="map", size=PHONE, most_high=1100),
    Shot("knowledge-light", edit, page="knowledge", most_high=1000),
    Shot("knowledge-phone-dark", edit, page="knowledge", size=PHONE, theme="dark"),
    Shot("align-light", watch, page="align"),
)  # fmt: skip


@contextmanager
def shown(browser: Browser, shot: Shot, url: str) -> Iterator[Page]:
    """Open the page of a shot."""
    wide, _ = shot.size
    context = browser.new_context(
        viewport={"width": wide, "height": TALL},  # pictures that are not seen do not load
        device_scale_factor=1.5,
        color_scheme=shot.theme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(f"{url}/#{shot.page}")
    page.locator("#health.good").wait_for()
    try:
        yield page
    finally:
        context.close()


def take(browser: Browser, shot: Shot, url: str, files: Path, out: Path) -> None:
    """Save one picture as WebP."""
    with shown(browser, shot, url) as page:
        shot.act(page, files)
        wide, high = shot.size
        page.set_viewport_size({"width": wide, "height": high})
        whole = page.evaluate("document.documentElement.scrollHeight")
        high = min(max(high, whole), shot.most_high)
        page.set_viewport_size({"width": wide, "height": high})
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(300)
        picture = Image.open(io.BytesIO(page.screenshot()))
    path = out / f"{shot.name}.webp"
    for quality in (88, 80, 70, 60):
        picture.convert("RGB").save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path.name}: {path.stat().st_size:,} bytes, {picture.width} x {picture.height}")


def lay_out(files: Path) -> None:
    """Write the files that are dropped on the page."""
    import zipfile

    files.mkdir(parents=True, exist_ok=True)
    made = things(4, seed=7)
    for label in ("kettle", "drum", "chair", "running"):
        each = [one for one in made if one.label == label][-1]
        (files / f"{label}{Path(each.name).suffix}").write_bytes(each.content)
    (files / "holiday.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with zipfile.ZipFile(files / "sounds.zip", "w") as archive:
        for n, each in enumerate(things(8, seed=9)):
            if each.modality == "audio":
                archive.writestr(f"{each.label}/{n}.wav", each.content)


def main() -> None:
    """Take the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of pictures; all by default")
    parser.add_argument("--folder", type=Path, help="where the space is kept for the next time")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    wanted = [shot for shot in SHOTS if not asked.names or shot.name in asked.names]
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = asked.folder or Path(temporary) / "room"
        files = Path(temporary) / "files"
        lay_out(files)
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        full = [shot for shot in wanted if not shot.is_empty]
        if full:
            with playroom(folder) as served:
                for shot in full:
                    take(browser, shot, served.url, files, asked.out)
        empty = [shot for shot in wanted if shot.is_empty]
        if empty:
            with serving(Path(temporary) / "empty", warm_up="true") as served:
                for shot in empty:
                    take(browser, shot, served.url, files, asked.out)
        browser.close()


if __name__ == "__main__":
    main()
