"""The two lines under a chapter's title: which chapters it needs, without those that these need, and which names it gives.

    python tests/needs.py           write them
    python tests/needs.py --check   exit code 1 and the chapters where they are stale

Both follow from the cells that are exported: what they import, and what the module offers; chapters without a module have theirs below.
"""
import importlib, json, os, re, sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/"site")]
GIVES = {  # of chapters without a module
    "11_scale": "memory, arithmetic and hours of the larger presets, and their commands",
    "12_symbols": "the symbols of the paper, with their shapes",
    "10_symbols": "the symbols of the four papers, with their shapes",
    "13_compact": "what `compact-base` reaches on people and photographs, and how it was made",
    "08_mp128": "what `mp128` and `mp256` reach, beside `carrier`",
    "21_bad_input": "what is said of files that cannot be used",
    "27_five_ways": "all systems on the same pairs, in pictures and numbers",
    "01_lessons": "mistakes that training does not show, and how each is found",
}
HEAD = re.compile(r"(# .+\n\n>.+)((?:\n\n(?:Needs|Gives): .+(?:\n(?:Needs|Gives): .+)*)?)")
IMPORT = re.compile(r"^\s*from megaportrait\.([\w.]+) import (.+)", re.M)


@lru_cache
def imported(path):
    "The chapters whose modules a chapter imports, where it exports one for the module"
    from hooks import code, listed, module
    found = IMPORT.findall(code(path, "export") or code(path))
    names = {o for m, names in found for o in (m, *(f"{m}.{n.split()[0]}" for n in names.split(",") if n.strip()))}
    return [p for p in listed() if module(p) in names and p != path]


@lru_cache
def before(path):
    "All chapters that come before one, however far"
    return {o for p in imported(path) for o in (p, *before(p))}


def needs(path):
    "The chapters that a chapter imports, without those that one of them needs"
    found = imported(path)
    return [p for p in found if not any(p in before(o) for o in found)]


def lines(path):
    "What a chapter needs and gives"
    from hooks import module, title
    far = lambda p: Path(os.path.relpath(p, path.parent)).as_posix()
    names = importlib.import_module(f"megaportrait.{module(path)}").__all__ if module(path) else []
    return ["Needs: " + (", ".join(f"[{title(p)}]({far(p)})" for p in needs(path)) or "nothing before it"),
            "Gives: " + (", ".join(f"`{k}`" for k in names) or GIVES[path.stem])]


def headed(path):
    "A chapter's notebook as it is, and its first text as it should be, with the cell that holds it"
    nb = json.loads(path.read_text(encoding="utf-8"))
    cell = next(c for c in nb["cells"] if c["cell_type"] == "markdown")
    told = "  \n".join(lines(path))
    return nb, cell, HEAD.sub(lambda m: m[1] + f"\n\n{told}", "".join(cell["source"]), count=1)


def main():
    from hooks import listed
    check, stale = "--check" in sys.argv[1:], []
    for path in (p for p in listed() if p.parent.name != "nbs"):
        nb, cell, text = headed(path)
        if text == "".join(cell["source"]): continue
        stale.append(path.relative_to(ROOT).as_posix())
        cell["source"] = text.splitlines(True)
        if not check: path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if check and stale: print("run `python tests/needs.py`: stale are", *stale, sep="\n")
    return int(check and bool(stale))


if __name__ == "__main__": sys.exit(main())
