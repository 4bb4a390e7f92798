"""Who may import whom: a part only parts above it, no module itself by a detour, and a public name exists once.

    python tests/layers.py           what is wrong; exit code 1 if anything is
"""
import ast, sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIB = "megaportrait"
PARTS = ("core", "data", "nets", "losses", "train", "measure", "labels", "mega", "fewshot", "metaportrait", "vasa",
         "emo", "use", "study")  # in this order
BESIDE = {"mega", "fewshot", "metaportrait", "vasa", "emo"}  # systems: none of them imports another
SHARED = {"main", "REGISTERED"}  # names that every command and every stage has


def homeless(lib):
    "Modules that lie in no part: in a folder that PARTS does not name, or beside the parts"
    beside = {"__init__", "__main__", "_modidx"}
    return [p.relative_to(lib).as_posix() for p in sorted(lib.rglob("*.py"))
            if (p.parent.name not in PARTS if p.parent != lib else p.stem not in beside)]


def modules(lib):
    "Name, as PART.MODULE, to syntax tree"
    return {".".join(p.relative_to(lib).with_suffix("").parts): ast.parse(p.read_text(encoding="utf-8"))
            for part in PARTS for p in sorted((lib/part).glob("*.py")) if p.stem != "__init__"}


def imports(name, tree, known):
    "The modules of the package that a module imports, wherever in it it does"
    here = name.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): named = [(o.name.split("."), []) for o in node.names]
        elif isinstance(node, ast.ImportFrom):
            said = node.module.split(".") if node.module else []
            named = [(said if not node.level else [LIB, *here[:len(here) - node.level], *said], [o.name for o in node.names])]
        else: continue
        for (root, *base), names in named:
            if root != LIB: continue
            if ".".join(base) in known: yield ".".join(base)
            else: yield from (m for o in names if (m := ".".join([*base, o])) in known)


def graph(lib):
    "Every module with those that it imports"
    trees = modules(lib)
    return {k: set(imports(k, t, trees)) for k, t in trees.items()}


def upward(edges):
    "Imports from a part below, or from a neighbouring system"
    place = {p: i for i, p in enumerate(PARTS)}
    part = lambda m: m.split(".")[0]
    return [(a, b) for a, found in edges.items() for b in sorted(found)
            if place[part(b)] > place[part(a)] or part(a) != part(b) and {part(a), part(b)} <= BESIDE]


def cycles(edges):
    "Modules that import themselves by a detour"
    def reached(start):
        seen, todo = set(), list(edges[start])
        while todo:
            m = todo.pop()
            if m not in seen:
                seen.add(m)
                todo += edges[m]
        return seen
    return [m for m in edges if m in reached(m)]


def public(tree):
    "Names that a module defines and does not hide"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): names = [node.name]
        elif isinstance(node, ast.Assign): names = [o.id for t in node.targets for o in ast.walk(t) if isinstance(o, ast.Name)]
        elif isinstance(node, ast.AnnAssign): names = [node.target.id]
        else: names = []
        yield from (o for o in names if not o.startswith("_"))


def twice(lib):
    "Public names with more than one home"
    homes = defaultdict(list)
    for module, tree in modules(lib).items():
        for name in set(public(tree)) - SHARED: homes[name].append(module)
    return {k: v for k, v in homes.items() if len(v) > 1}


def main():
    lib = ROOT/LIB
    edges = graph(lib)
    wrong = [f"{a} imports {b}, which is below it" for a, b in upward(edges)]
    wrong += [f"{m} lies in no part; PARTS in tests/layers.py has them" for m in homeless(lib)]
    wrong += [f"{m} imports itself by a detour" for m in cycles(edges)]
    wrong += [f"{k} is defined in {' and '.join(v)}" for k, v in twice(lib).items()]
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__": sys.exit(main())
