"""The studio in a real JupyterLab in a real browser; skipped where there is none.

    pip install -e '.[dev,browser]' && pytest tests/test_studio_browser.py
    STUDIO_PICTURE=figures/studio.jpg pytest tests/test_studio_browser.py   # also keeps a picture of the page
"""
import io, os, re, socket, subprocess, sys, time, urllib.error, urllib.request

import av
import numpy as np
import pytest
from lab import ROOT, Lab, needs
from PIL import Image

needs()
PICTURE = "img.studio"


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.open("nbs/studio_app.ipynb")
        assert lab.run_all() == []
        yield lab


def said(lab): return lab.page.locator(".studio-message").first.inner_text().strip()


def wait_said(lab, text): lab.page.wait_for_function("t => document.querySelector('.studio-message').innerText.includes(t)", arg=text)


def press(lab, label): lab.page.get_by_role("button", name=label).first.click()


FIELD = ".studio-page .v-file-input"  # the first is the portrait's


def choose(lab, path):
    "Choose a file in the browser's own dialogue"
    with lab.page.expect_file_chooser() as chooser: lab.page.locator(FIELD).first.click()
    chooser.value.set_files(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    "A synthetic person before a wall as a picture, and a text that says it is one"
    from megaportrait.data.motion import make_motion
    from megaportrait.data.person import sample_identity
    from megaportrait.data.scene import render
    from megaportrait.core.viz import to_uint8
    folder = tmp_path_factory.mktemp("files")
    o = render(sample_identity(29), make_motion(1, yaw=.2), 192)
    wall = np.full((256, 320, 3), (120, 150, 170), np.uint8)
    head, a = to_uint8(o.image[0]), o.mask[0].movedim(0, -1).numpy()
    wall[64:, 64:256] = (a*head + (1 - a)*wall[64:, 64:256]).round()
    for name in ("portrait.png", "other.png"): Image.fromarray(wall).save(folder/name)
    (folder/"text.png").write_text("this is no picture")
    return folder


def test_a_slider_changes_the_picture_and_back_is_the_same(lab):
    first = lab.image(PICTURE)
    assert Image.open(io.BytesIO(first)).size == (384, 384)
    lab.set("yaw", 4)
    assert lab.image(PICTURE) != first
    lab.set("yaw", 0)
    assert lab.image(PICTURE) == first
    lab.set("blink", 1)
    assert lab.image(PICTURE) != first
    press(lab, "reset")
    lab.settle()
    assert lab.image(PICTURE) == first
    if path := os.environ.get("STUDIO_PICTURE"):
        lab.set("blink", .5)
        im = Image.open(io.BytesIO(lab.page.locator(".studio-page").first.screenshot())).convert("RGB")
        im.save(ROOT/path, quality=80)
        press(lab, "reset")
        lab.settle()


def test_a_text_that_is_called_a_picture_gives_a_sentence(lab, files):
    before = lab.image(PICTURE)
    lab.drop(FIELD, files/"text.png")
    wait_said(lab, "text.png: not a readable picture")
    lab.settle()
    assert "Traceback" not in said(lab) and "/" not in said(lab).replace("jpg or png", "")
    assert lab.image(PICTURE) == before


@pytest.mark.parametrize("hand_in", ("drop", "choose"))
def test_a_portrait_is_handed_in(lab, files, hand_in):
    box = lab.page.locator(".widget-combobox:has(.widget-label:text-is('portrait')) input, .widget-text:has(.widget-label:text-is('portrait')) input").first
    box.fill("person 9")
    box.press("Enter")
    lab.settle()
    before, src = lab.image(PICTURE), lab.page.locator(PICTURE).first.get_attribute("src")
    if hand_in == "drop": lab.drop(FIELD, files/"portrait.png")
    else: choose(lab, files/"other.png")
    lab.page.wait_for_function("([css, old]) => document.querySelector(css).src !== old", arg=[PICTURE, src])
    lab.settle()
    assert said(lab) == "" and lab.image(PICTURE) != before
    assert box.input_value().endswith(dict(drop="portrait.png", choose="other.png")[hand_in])


def test_a_film_is_recorded_and_plays(lab, tmp_path):
    out = tmp_path/"film.mp4"
    box = lab.page.locator(".widget-text:has(.widget-label:text-is('write to')) input").first
    box.fill(str(out))
    box.press("Enter")
    lab.settle()
    lab.set("yaw", 10)
    press(lab, re.compile("^record$"))
    wait_said(lab, "50 frames, 2.0 s")
    with av.open(str(out)) as f:
        pictures = [o.to_ndarray(format="rgb24") for o in f.decode(video=0)]
        assert "ynthetic" in f.metadata["comment"]
    assert [o.shape for o in pictures] == [(128, 128, 3)]*50
    apart = lambda i: np.abs(pictures[i].astype(int) - pictures[0]).mean()
    assert apart(25) > 3*apart(1) and apart(25) > 3*apart(49)  # there and back
    lab.page.wait_for_function("() => document.querySelector('.studio-video video')?.readyState >= 2")  # a frame is there


def test_a_transparent_film_is_recorded_and_plays(lab, tmp_path):
    from megaportrait.core.writer import rgba_frames
    box = lab.page.locator(".widget-text:has(.widget-label:text-is('write to')) input").first
    box.fill(str(tmp_path/"clear.mp4"))
    box.press("Enter")
    lab.settle()
    pick = lab.page.locator(".widget-dropdown:has(.widget-label:text-is('background')) select").first
    pick.select_option("transparent")
    lab.settle()
    assert box.input_value() == str(tmp_path/"clear.webm")
    press(lab, re.compile("^record$"))
    wait_said(lab, "clear.webm: 50 frames")
    alpha = [x[..., 3] for x in rgba_frames(tmp_path/"clear.webm")]
    assert len(alpha) == 50 and alpha[0].min() < 10 < 245 < alpha[0].max()
    lab.page.wait_for_function("() => document.querySelector('.studio-video video')?.readyState >= 2")
    pick.select_option("source")
    lab.settle()


def test_a_stopped_film_is_not_written(lab, tmp_path):
    out = tmp_path/"stopped.mp4"
    box = lab.page.locator(".widget-text:has(.widget-label:text-is('write to')) input").first
    box.fill(str(out))
    box.press("Enter")
    lab.settle()
    press(lab, re.compile("^record$"))
    press(lab, "stop")
    wait_said(lab, "was not written")
    assert not out.exists() and not any(tmp_path.iterdir())


def test_nothing_went_wrong_in_the_console(lab):
    assert lab.errors() == []


@pytest.fixture(scope="module")
def voila(tmp_path_factory):
    "The address of the page that Voila makes of the notebook"
    needs("voila")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    tmp = tmp_path_factory.mktemp("voila")
    env = os.environ | {f"JUPYTER_{k}_DIR": str(tmp/k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with open(tmp/"log", "wb") as log:
        command = [sys.executable, "-m", "voila", "nbs/studio_app.ipynb", "--no-browser", f"--port={port}"]
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        url, end = f"http://127.0.0.1:{port}/", time.time() + 120
        while True:
            try: urllib.request.urlopen(url + "voila/none", timeout=5)
            except urllib.error.HTTPError: break  # it answers
            except OSError:
                if server.poll() is not None or time.time() > end: raise RuntimeError((tmp/"log").read_text()[-2000:])
                time.sleep(.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def test_voila_shows_the_page_without_code(lab, voila):
    with lab.page.context.browser.new_context(viewport=dict(width=1400, height=1000)) as other:
        page, said = other.new_page(), []
        page.set_default_timeout(300_000)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.goto(voila)
        page.wait_for_function("css => document.querySelector(css)", arg=PICTURE)
        assert "import" not in page.locator("body").inner_text()
        page.wait_for_selector(".v-file-input")
        src = page.locator(PICTURE).get_attribute("src")
        handle = page.locator(".widget-slider:has(.widget-label:text-is('yaw')) .noUi-handle").first
        handle.focus()
        handle.press("ArrowRight")
        page.wait_for_function("([css, old]) => document.querySelector(css).src !== old", arg=[PICTURE, src])
        assert said == []
