"""How many code cells of each notebook `nbdev_test` executes.

    python tests/cells.py            a table; exit code 1 below 90 %
    from cells import counts         (executed, switched off by `eval: false`, all)

nbdev_test prints no count. It stops a notebook at its first error, so in a notebook that passed every cell was executed
but those that its rules leave out; the rules are read here with nbdev's own processors.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARE = .9  # of the code cells of every notebook


def notebooks():
    "Every notebook that nbdev_test would take"
    from nbdev.doclinks import nbglob
    return sorted(nbglob(ROOT/"nbs", as_path=True))


def counts(path, flags=None):
    "Code cells of a notebook: executed by nbdev_test, switched off by `eval: false`, all (empty ones left out)"
    from nbdev.config import get_config
    from nbdev.frontmatter import FrontmatterProc
    from nbdev.process import NBProcessor
    flags = set(get_config(path=ROOT).tst_flags.split() if flags is None else flags)
    nb = NBProcessor(Path(path), procs=FrontmatterProc, process=True).nb
    cells = [c for c in nb.cells if c.cell_type == "code" and c.source.strip()]
    directives = [getattr(c, "directives_", None) or {} for c in cells]
    off = [d.get("eval:", [""])[0].lower() == "false" for d in directives]
    run = [not o and not flags & d.keys() and "nbdev_export(" not in c.source for c, d, o in zip(cells, directives, off)]
    if str(getattr(nb, "frontmatter_", {}).get("skip_exec", False)).lower() in ("true", "1", "yes"): run = []
    return sum(run), sum(off), len(cells)


def main():
    bad, total = 0, [0, 0, 0]
    print(f"{'notebook':32} executed  of code cells  (eval: false)")
    for p in notebooks():
        c = counts(p)
        total = [a+b for a, b in zip(total, c)]
        low = c[0] < SHARE*c[2]
        bad += low
        print(f"{p.relative_to(ROOT/'nbs').as_posix():32} {c[0]:8}  of {c[2]:<11} ({c[1]}){f'   below {SHARE:.0%}' if low else ''}")
    print(f"{'all':32} {total[0]:8}  of {total[2]:<11} ({total[1]})")
    return 1 if bad else 0


if __name__ == "__main__": sys.exit(main())
