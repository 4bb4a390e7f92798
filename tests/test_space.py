"""The page of the Space, started as a Space starts it and clicked in a real browser; skipped where there is no gradio or browser.

    pip install -e '.[dev,browser,space]' && pytest tests/test_space.py
    SPACE_PICTURE=figures/space.jpg pytest tests/test_space.py   # also keeps a picture of the page
"""
import io, os, re, socket, subprocess, sys, time, urllib.error, urllib.request

import numpy as np
import pytest
import yaml
from lab import ROOT, chromium, needs
from PIL import Image

needs("gradio")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    "The address of `space/app.py`"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    tmp = tmp_path_factory.mktemp("space")
    env = os.environ | dict(GRADIO_SERVER_NAME="127.0.0.1", GRADIO_SERVER_PORT=str(port), GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(tmp/"files"),
                            PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    with open(tmp/"log", "wb") as log: server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT/"space", env=env, stdout=log, stderr=log)
    try:
        url, end = f"http://127.0.0.1:{port}/", time.time() + 120
        while True:
            try: urllib.request.urlopen(url, timeout=5)
            except urllib.error.URLError:
                if server.poll() is not None or time.time() > end: raise RuntimeError((tmp/"log").read_text()[-2000:])
                time.sleep(.2)
            else: break
        yield url
    finally:
        server.terminate()
        server.wait()


def test_a_photograph_is_animated_once_its_visitor_says_that_it_may(served, tmp_path):
    from playwright.sync_api import sync_playwright
    from megaportrait.core.video import read_video
    from megaportrait.data.motion import make_motion
    from megaportrait.data.person import sample_identity
    from megaportrait.data.scene import render
    from megaportrait.use.check import what_it_says
    from megaportrait.use.source import to_pictures
    Image.fromarray(to_pictures(render(sample_identity(29), make_motion(1), 256).image)[0]).save(tmp_path/"portrait.png")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"])
        page, wrong = browser.new_page(viewport=dict(width=1400, height=1100)), []
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.goto(served)
        go = page.get_by_role("button", name=re.compile("^animate$"))
        go.click()
        page.get_by_text("tick the box first").first.wait_for()
        page.locator("input[type=file]").first.set_input_files(tmp_path/"portrait.png")
        page.locator("img[src*='portrait.png']").first.wait_for()
        page.get_by_label("everybody shown here agreed", exact=False).check()
        slider = page.locator("input[type=number][aria-label*='blink' i]").first
        slider.fill("1")
        slider.press("Enter")
        go.click()
        video = page.locator("video").last
        page.wait_for_function("() => [...document.querySelectorAll('video')].some(o => o.readyState >= 2 && o.src)")
        film = tmp_path/"synthetic.mp4"
        film.write_bytes(urllib.request.urlopen(video.get_attribute("src")).read())
        if path := os.environ.get("SPACE_PICTURE"): Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(ROOT/path, quality=80)
        browser.close()
    frames = list(read_video(film))
    assert len(frames) == 24 and np.abs(frames[12].astype(int) - frames[0]).mean() > 1
    assert what_it_says(film)["synthetic"] and not wrong, wrong


def test_the_folder_is_a_space(tmp_path):
    "Hugging Face reads the front matter; the file that it names and the extra that it installs exist"
    head = yaml.safe_load((ROOT/"space/README.md").read_text().split("---")[1])
    assert head["sdk"] == "gradio" and (ROOT/"space"/head["app_file"]).is_file()
    assert "megaportrait[space] @ git+https://" in (ROOT/"space/requirements.txt").read_text()
    subprocess.run([sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    assert re.search(r"^\[space\]\ngradio", (tmp_path/"megaportrait.egg-info/requires.txt").read_text(), re.M)
