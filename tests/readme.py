"""README.md from nbs/index.ipynb, without Quarto.

    python tests/readme.py           write it
    python tests/readme.py --check   exit code 1 and the difference where it is stale

Markdown is taken over; code cells are run in order, in nbs/, as nbdev_test does, and stand with what they give as Markdown or
text. `#| hide` keeps a cell out, `#| echo: false` its source. Links are turned from nbs/ to the top of the repository.
"""
import difflib, os, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from nbs/index.ipynb by tests/readme.py: edit the notebook, then run `python tests/readme.py`. -->\n\n"


def relink(text):
    "Links and pictures as seen from the top of the repository instead of nbs/"
    def f(m):
        pre, url = m.groups()
        if re.match(r"\w+:|#|/", url): return m[0]
        return pre + (url[3:] if url.startswith("../") else "nbs/" + url)
    return re.sub(r"(\]\(|src=\")([^\s)\"]+)", f, text)


def shown(out):
    "One output of a cell as Markdown"
    text = lambda o: "".join(o) if isinstance(o, list) else o
    if out["output_type"] == "error": raise RuntimeError(f"{out['ename']} in the index: {out['evalue']}")
    if out["output_type"] == "stream": return f"```\n{text(out['text']).rstrip()}\n```" if out["name"] == "stdout" else ""
    data = out["data"]
    if "text/markdown" in data: return text(data["text/markdown"]).strip()
    return f"```\n{text(data['text/plain']).rstrip()}\n```"


def render(path):
    "The text of the README"
    from execnb.nbio import read_nb
    from execnb.shell import CaptureShell
    sys.path.insert(0, str(ROOT))
    os.chdir(path.parent)
    shell, parts = CaptureShell(path), []
    for c in read_nb(path).cells:
        src = c.source.strip()
        if c.cell_type == "markdown": parts.append(src)
        if c.cell_type != "code" or not src: continue
        outs = shell.run(src)
        if shell.exc: raise shell.exc
        lines = src.splitlines()
        flags = {re.sub(r"#\s*\|\s*", "", o).strip() for o in lines if re.match(r"#\s*\|", o)}
        if "hide" in flags: continue
        code = "\n".join(o for o in lines if not re.match(r"#\s*\|", o)).strip()
        if "echo: false" not in flags: parts.append(f"```python\n{code}\n```")
        parts += [s for o in outs if (s := shown(o))]
    return NOTE + relink("\n\n".join(parts)) + "\n"


def main():
    new, readme = render(ROOT/"nbs"/"index.ipynb"), ROOT/"README.md"
    if "--check" not in sys.argv[1:]:
        readme.write_text(new, encoding="utf-8")
        return 0
    old = readme.read_text(encoding="utf-8")
    diff = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "README.md", "nbs/index.ipynb", lineterm="", n=1))
    if diff: print("README.md is stale, run `python tests/readme.py`:", *diff[:60], sep="\n")
    return bool(diff)


if __name__ == "__main__": sys.exit(main())
