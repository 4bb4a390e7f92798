"""The book as a site: every notebook with its outputs is a page, every module is a page, and a gallery shows the chapters' pictures"""
import ast, html, importlib, inspect, itertools, re
from copy import deepcopy
from functools import cache
from pathlib import Path, PurePosixPath

import nbformat
import torch
from latex2mathml.converter import convert
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter
from nbdev.showdoc import BasicMarkdownRenderer

ROOT = Path(__file__).resolve().parents[1]
DOCS, PACKAGE = ROOT/"nbs", "megaportrait"
FIRST = ("index", "contents", "ledger")  # pages above the parts
WIDGET = "application/vnd.jupyter.widget-view+json"
DIRECTIVE = re.compile(r"^#\s*\|\s*(\S+)", re.M)
INSTALL = """# Installs the package from its repository, and goes to this chapter's folder. If asked to restart, do, and run this again.
![ -d {name} ] || git clone -q --depth 1 {repo}
%pip install -q './{name}[dev]'
%cd {name}/{folder}"""
FOLDED = """<details markdown="1">
<summary>Imports</summary>

```python
{}
```

</details>"""
LINK = re.compile(r"(\]\(|(?:src|href)=\")(?!https?:|data:|#|mailto:)([^)\"#\s]+)")


@cache
def notebook(path): return nbformat.read(path, as_version=4)


def text(path): return "\n\n".join(c.source for c in notebook(path).cells if c.cell_type == "markdown")


def title(path): return re.sub(r"\$.*?\$", "", re.search(r"^# (.+)$", text(path), re.M)[1]).rstrip(": ")


def code(path, kind=""):
    "What stands in code cells, in all of them or in those with a directive"
    return "\n".join(c.source for c in notebook(path).cells if c.cell_type == "code" and (not kind or kind in DIRECTIVE.findall(c.source)))


@cache
def module(path):
    "The module that a chapter exports, or none"
    return m[1] if (m := re.search(r"^#\|\s*default_exp (\S+)", code(path), re.M)) else ""


@cache
def listed():
    "Notebooks in the order of `contents.ipynb`, as its saved tables have them"
    tables = [o.data["text/markdown"] for c in notebook(DOCS/"contents.ipynb").cells if c.cell_type == "code" for o in c.outputs]
    return [DOCS/p for t in tables for p in re.findall(r"^\| \[.*?\]\((\S+\.ipynb)\)", t, re.M)]


def imports(source):
    "Whether a cell does nothing but import"
    try: return bool(did := ast.parse(source).body) and all(isinstance(o, ast.Import | ast.ImportFrom) for o in did)
    except SyntaxError: return False  # a shell's command


def visible(cell):
    "A cell as readers see it, or none"
    told = DIRECTIVE.findall(cell.source) if cell.cell_type == "code" else []
    if {"hide", "default_exp"} & set(told): return None
    cell = deepcopy(cell)
    if told: cell.source = "\n".join(o for o in cell.source.splitlines() if not DIRECTIVE.match(o))
    if "echo:" in told: cell.source = ""
    if cell.cell_type == "code" and imports(cell.source): return nbformat.v4.new_markdown_cell(FOLDED.format(cell.source))
    if cell.cell_type == "code": cell.outputs = [o for o in cell.outputs if o.get("data") != {} and WIDGET not in o.get("data", {})]
    return cell


def up(path): return "../"*(len(path.relative_to(DOCS).parts) - 1)


def moved(source, path, here):
    "Links of the page of a notebook, written in folder `here`: to pages, to copied pictures, or into the repository"
    def to(m):
        target = (here/m[2]).resolve()
        inside = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        if target.suffix == ".ipynb": return m[1] + up(path) + target.relative_to(DOCS).with_suffix(".md").as_posix()
        if target.is_file() and inside.startswith("figures/"): return m[1] + up(path) + inside
        return m[1] + f"{REPO}/tree/main/{inside}" if target.exists() else m[0]
    return LINK.sub(to, source)


def colab(path):
    "A chapter for Colab: a first cell installs what it needs"
    nb = deepcopy(notebook(path))
    cell = INSTALL.format(repo=REPO, name=PurePosixPath(REPO).name, folder=path.parent.relative_to(ROOT).as_posix())
    nb.cells.insert(0, nbformat.v4.new_code_cell(cell, id="install"))
    return nbformat.writes(nb)


def links(path):
    "The line under a chapter's title: where else it is, and the page of its module"
    at = path.relative_to(DOCS).as_posix()
    hosted = REPO.replace("https://github.com", "https://colab.research.google.com/github")
    out = [f"[Open in Colab]({hosted}/blob/colab/{at})", f"[Notebook]({REPO}/blob/main/nbs/{at})"]
    if m := module(path): out.append(f"[Module `{m}`]({up(path)}api/{m}.md)")
    return " · ".join(out) + "\n{ .links }\n"


def page(path):
    "Markdown of a notebook, and its pictures by name; the index is read where it stands with its outputs"
    if path == DOCS/"index.ipynb": return moved((ROOT/"README.md").read_text(), path, ROOT), {}
    nb = deepcopy(notebook(path))
    nb.metadata.language_info = dict(name="python")
    nb.cells = [o for o in map(visible, nb.cells) if o]
    stem = path.relative_to(DOCS).with_suffix("").as_posix()
    body, kept = MarkdownExporter().from_notebook_node(nb, dict(output_files_dir=PurePosixPath(stem).name + "_files", unique_key="out"))
    body = re.sub(r"^```python\n\s*```\n", "", moved(body, path, path.parent), flags=re.M)
    count = itertools.count(1)
    body = re.sub(r"!\[(?:png|jpeg|svg)\]", lambda _: f"![{title(path)}, picture {next(count)}]", body)
    if path.stem not in FIRST: body = re.sub(r"^(# .+)$", lambda m: m[1] + "\n\n" + links(path), body, count=1, flags=re.M)
    return body, {(PurePosixPath(stem).parent/k).as_posix(): v for k, v in kept["outputs"].items()}


def api(name):
    "Markdown of a module: what it is for, and every public name with its parameters"
    m = importlib.import_module(f"{PACKAGE}.{name}")
    vars(m).setdefault("torch", torch)  # named in annotations where importing the module does without it
    parts = [f"# `{name}`\n\n{inspect.getdoc(m)}\n"]
    for k in m.__all__:
        o = getattr(m, k)
        if callable(o): parts.append(BasicMarkdownRenderer(o, title_level=2)._repr_markdown_())
        else: parts.append(f"## {k}\n\n`{type(o).__name__}`")
    return "\n\n".join(parts)


def gallery(chapters, pictures):
    "The first picture of every chapter that has one"
    at = lambda p: p.relative_to(DOCS).with_suffix("").as_posix()
    cards = [f'<a href="../{at(p)}/"><img src="../{pictures[p]}" alt="" loading="lazy"><span>{html.escape(title(p))}</span></a>'
             for p in chapters if p in pictures]
    return '# Gallery\n\nThe first picture of every chapter; each leads there.\n\n<div class="gallery">' + "".join(cards) + "</div>\n"


def on_config(config):
    global REPO
    REPO = config.extra["social"][0]["link"]
    chapters = listed()
    parts = dict.fromkeys(p.parent.name for p in chapters if p.parent != DOCS)
    md = lambda p: p.relative_to(DOCS).with_suffix(".md").as_posix()
    nav = [{title(DOCS/f"{k}.ipynb"): f"{k}.md"} for k in FIRST]
    nav += [{part: [{title(p): md(p)} for p in chapters if p.parent.name == part]} for part in parts]
    nav += [{"Notebooks to run": [{title(p): md(p)} for p in chapters if p.parent == DOCS]}, {"Gallery": "gallery.md"}]
    config.nav = nav + [{"Modules": [{m: f"api/{m}.md"} for p in chapters if (m := module(p))]}]
    return config


def on_files(files, config):
    def add(uri, content): files.append(File.generated(config, uri, content=content))
    for f in [f for f in files if f.src_dir == config.docs_dir]: files.remove(f)  # the notebooks themselves
    chapters, pictures = listed(), {}
    for p in [DOCS/f"{k}.ipynb" for k in FIRST] + chapters:
        body, kept = page(p)
        add(p.relative_to(DOCS).with_suffix(".md").as_posix(), body)
        for name, data in kept.items(): add(name, data)
        if kept: pictures[p] = next(iter(kept))
        if m := module(p): add(f"api/{m}.md", api(m))
        add("colab/" + p.relative_to(DOCS).as_posix(), colab(p))
    for p in (ROOT/"figures").rglob("*"):
        if p.is_file(): add(p.relative_to(ROOT).as_posix(), p.read_bytes())
    add("gallery.md", gallery(chapters, pictures))
    add("book.css", (ROOT/"site/book.css").read_text())
    return files


def on_page_content(content, **_):
    "Formulas become MathML, which browsers draw without a script"
    def drawn(m): return convert(html.unescape(m[2]), display="block" if m[1] == "div" else "inline")
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', drawn, content, flags=re.S)
