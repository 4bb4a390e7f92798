"""The site is built by one command, every link of it leads somewhere, and it can be read on a desk and on a phone"""
import html, os, re, subprocess, sys, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from nbclient import NotebookClient

from lab import chromium, needs

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = ("http:", "https:", "data:", "mailto:", "javascript:")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    r = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "site/mkdocs.yml", "-d", str(out)], cwd=ROOT, text=True,
                       capture_output=True, timeout=180, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-2000:]
    return out


def pages(site): return [p for p in site.rglob("*.html") if p.name != "404.html"]  # which hosts show with paths of their own


def test_every_link_leads_somewhere(site):
    names = {p: set(re.findall(r'\bid="([^"]+)"', p.read_text())) for p in pages(site)}
    wrong = []
    for p in names:
        for link in re.findall(r'<(?:a|img|link|script|source)\b[^>]*?\s(?:href|src)="([^"]+)"', p.read_text()):
            at, name = urldefrag(html.unescape(link))
            if at.startswith(ELSEWHERE): continue
            to = (p.parent/unquote(at)).resolve() if at else p
            if to.is_dir(): to /= "index.html"
            lost = name and to in names and unquote(name) not in names[to] and not name.startswith("__")
            if lost or not to.exists(): wrong.append((p.relative_to(site).as_posix(), link))
    assert not wrong, wrong[:20]


def test_chapters_and_modules_have_their_pages(site):
    for nb in (ROOT/"nbs").glob("*/[0-9]*.ipynb"): assert (site/nb.relative_to(ROOT/"nbs").with_suffix("")/"index.html").is_file(), nb
    api = (site/"api/nets.warp/index.html").read_text()
    assert 'id="follow"' in api and "where to look in" in api  # a name, and what is said of a parameter


def test_pages_show_what_notebooks_show(site):
    page = (site/"nets/02_warp/index.html").read_text()
    assert "<math" in page and "arithmatex" not in page
    assert re.search(r'<img[^>]*src="[^"]*02_warp_files/', page) and "default_exp" not in page and "#|" not in page
    assert 'alt="Warping volumes, picture 1"' in page and '<summary>Imports</summary>' in page
    assert "What it reaches" in (home := (site/"index.html").read_text()) and home.count("<table>") >= 3


def test_every_chapter_opens_in_colab_where_its_first_cell_installs_it(site):
    for nb in [*(ROOT/"nbs").glob("*/[0-9]*.ipynb"), *(ROOT/"nbs").glob("train_*.ipynb")]:
        at = nb.relative_to(ROOT/"nbs")
        assert f"/blob/colab/{at.as_posix()}" in (site/at.with_suffix("")/"index.html").read_text(), at
        copy, own = (nbformat.read(p, as_version=4) for p in (site/"colab"/at, nb))
        nbformat.validate(copy)
        first, *rest = copy.cells
        assert "git clone" in first.source and "%pip install" in first.source and f"%cd megaportrait/nbs{'/' + at.parent.name if at.parent.name else ''}" in first.source
        assert rest == own.cells, at


def test_colabs_first_cell_installs_and_its_chapter_runs(site, tmp_path):
    "In an empty folder; the repository is this one, and what the package needs is there already"
    nb = nbformat.read(site/"colab/core/05_curves.ipynb", as_version=4)
    nb.cells.append(nbformat.v4.new_code_cell("import megaportrait; print(megaportrait.__file__)"))
    git = dict(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0=f"url.file://{ROOT}.insteadOf", GIT_CONFIG_VALUE_0=re.search(r"git clone .*?(https:\S+)", nb.cells[0].source)[1])
    pip = dict(PIP_TARGET=str(tmp_path/"installed"), PIP_NO_DEPS="1", PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0") # which means: none
    (tmp_path/"installed").mkdir() # before the kernel starts, which looks once
    client = NotebookClient(nb, timeout=300, resources=dict(metadata=dict(path=str(tmp_path))))
    with client.setup_kernel(env=os.environ | git | pip | dict(PYTHONPATH=str(tmp_path/"installed"))):
        for i, cell in enumerate(nb.cells): client.execute_cell(cell, i)
    assert nb.cells[-1].outputs[0].text.strip() == str(tmp_path/"installed/megaportrait/__init__.py")


def test_a_chapter_says_what_it_needs_and_gives(site):
    page = (site/"mega/02_warp_generator/index.html").read_text()
    line = re.search(r"Needs:.*?Gives:.*?</p>", page, re.S)[0]
    assert "../00_config/" in line and "WarpGenerator" in line and "api/mega.warp_generator" in page


@pytest.fixture(scope="module")
def served(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=site)) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{s.server_port}"
        s.shutdown()


@pytest.mark.parametrize("width,height", [(1280, 900), (390, 800)], ids=["desk", "phone"])
def test_a_browser_shows_it(served, width, height):
    needs()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"])
        page = browser.new_page(viewport=dict(width=width, height=height))
        said = []
        page.on("console", lambda m: m.type == "error" and said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        for at in ("/", "/nets/02_warp/", "/api/nets.warp/", "/gallery/", "/use/17_studio/"):
            page.goto(served + at)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{at} is wider than the window"
            assert page.evaluate("[...document.images].filter(i => i.loading != 'lazy' && !i.naturalWidth).length") == 0, at
        page.goto(served + "/nets/02_warp/")
        assert page.locator("a.md-footer__link").count() == 2  # previous and next
        if width < 500: page.locator("label.md-header__button[for=__search]").click()
        page.locator("input.md-search__input").fill("spline")
        page.locator(".md-search-result__link").first.wait_for()
        assert not said, said
