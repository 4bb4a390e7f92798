"""The repository is consistent: modules, notebooks and README agree, and nothing is in it that should not be.

Whatever writes is tried on a copy, so nothing here changes the checkout.
"""
import argparse, ast, filecmp, json, os, re, shlex, shutil, subprocess, sys
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import pytest, yaml

from cells import counts
from layers import cycles, graph, homeless, public, twice, upward

ROOT = Path(__file__).resolve().parents[1]
CFG = ConfigParser(delimiters=["="])
CFG.read(ROOT/"settings.ini", encoding="utf-8")
LIB = CFG["DEFAULT"]["lib_path"]
COLUMNS = 120
HAND = {"__init__.py", "__main__.py"}  # the only files of the package that no notebook writes
SKIP = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "_proc", "_docs")
NBS = sorted(p for p in (ROOT/"nbs").rglob("*.ipynb") if not any(o[0] in "._" for o in p.relative_to(ROOT).parts))
RUNS = [p for p in NBS if p.stem.startswith("train_") or p.stem == "evaluate"]
name = lambda p: p.relative_to(ROOT/"nbs").as_posix()


def cells(path, kind="code"): return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


@pytest.fixture
def copy(tmp_path):
    "What nbdev needs of the repository, elsewhere"
    for o in ("settings.ini", "setup.py", "pyproject.toml", "README.md"): shutil.copy(ROOT/o, tmp_path)
    for o in (LIB, "nbs"): shutil.copytree(ROOT/o, tmp_path/o, ignore=SKIP)
    return tmp_path


def nbdev(command, cwd):
    env = {k: v for k, v in os.environ.items() if k != "IN_TEST"}  # with IN_TEST set, nbdev_export does nothing
    r = subprocess.run([str(Path(sys.executable).parent/command)], cwd=cwd, env=env, text=True, capture_output=True, timeout=120)
    assert r.returncode == 0, r.stdout + r.stderr


def files(p): return {o.relative_to(p).as_posix() for o in p.rglob("*") if o.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(o.parts)}


def differences(a, b): return sorted(files(a) ^ files(b)) + [o for o in sorted(files(a) & files(b)) if not filecmp.cmp(a/o, b/o, shallow=False)]


def test_package_is_what_the_notebooks_export(copy):
    for o in (copy/LIB).rglob("*.py"):
        if o.name not in HAND: o.unlink()  # so that a module whose notebook has gone is noticed
    nbdev("nbdev_export", copy)
    assert not (d := differences(ROOT/LIB, copy/LIB)), f"run nbdev_export and commit: {d}"


def test_notebooks_are_clean(copy):
    nbdev("nbdev_clean", copy)
    assert not (d := differences(ROOT/"nbs", copy/"nbs")), f"run nbdev_clean and commit: {d}"


def test_readme_is_what_the_index_says():
    r = subprocess.run([sys.executable, str(ROOT/"tests"/"readme.py"), "--check"], text=True, capture_output=True, timeout=120)
    assert r.returncode == 0, r.stdout + r.stderr


def test_chapters_are_called_by_their_names():
    text = {nb: [c["source"] if isinstance(c["source"], str) else "".join(c["source"]) for c in json.loads(nb.read_text())["cells"]] for nb in NBS}
    titles = {re.search(r"^# (.+)$", "\n".join(o), re.M)[1] for o in text.values()}
    known = titles | {re.split(r":? \$", o)[0] for o in titles}  # the title, or what stands before its formula
    called = [(name(nb), o) for nb, cells in text.items() for cell in cells for many in re.findall(r"[Cc]hapters? ((?:\*[^*\n]+\*(?:, | and )?)+)", cell) for o in re.findall(r"\*([^*]+)\*", many)]
    assert called and not (wrong := [o for o in called if o[1] not in known]), wrong


@pytest.mark.parametrize("nb", NBS, ids=name)
def test_notebook_is_small_and_whole(nb):
    assert (kb := nb.stat().st_size/1000) <= 500, f"{kb:.0f} KB, at most 500: fewer or smaller pictures"
    errors = [i for i, c in enumerate(cells(nb), 1) if any(o["output_type"] == "error" for o in c["outputs"])]
    assert not errors, f"code cells {errors} hold a saved error"


@pytest.mark.parametrize("nb", [o for o in NBS if o.parent.name != "nbs"], ids=name)
def test_a_chapter_opens_with_a_picture(nb):
    "It stands before the first function or class that the chapter exports"
    text = lambda c: "".join(c["source"])
    shows = lambda c: "![" in text(c) if c["cell_type"] == "markdown" else any(k.startswith("image/") for o in c.get("outputs", []) for k in o.get("data", {}))
    defines = lambda c: text(c).startswith("#| export") and re.search(r"^(?:def|class) ", text(c), re.M)
    first = next((c for c in json.loads(nb.read_text())["cells"] if shows(c) or defines(c)), None)
    assert first and shows(first), "give it a picture that shows what it is about, at its top"


@pytest.mark.parametrize("nb", [o for o in NBS if o.parent.name != "nbs"], ids=name)
def test_a_chapter_ends_with_exercises(nb):
    "Three of them, and their answers in a hidden cell that runs and tests"
    every = json.loads(nb.read_text())["cells"]
    at = max(i for i, c in enumerate(every) if c["cell_type"] == "markdown")
    asked, answers, *rest = ("".join(c["source"]) for c in every[at:])
    assert asked.startswith("## Exercises") and re.findall(r"^(\d)\. ", asked, re.M) == ["1", "2", "3"]
    assert re.search(r"assert |test_\w+\(", answers) and all(o.startswith("#| hide") for o in (answers, *rest))


def test_no_chapter_switches_gradients_off_for_the_next():
    "nbdev_test runs many notebooks in one process"
    assert not (bad := [name(nb) for nb in NBS for c in cells(nb) if "set_grad_enabled(" in "".join(c["source"])]), bad


@pytest.mark.parametrize("nb", NBS, ids=name)
def test_notebook_is_executed(nb):
    run, off, total = counts(nb)
    assert run >= .9*total, f"nbdev_test executes {run} of {total} code cells, {off} are switched off by eval: false"


def test_cells_are_counted_by_nbdevs_rules(tmp_path):
    "A cell with eval: false, one with a flag of tst_flags, an empty one and three that run"
    src = ["1", "#| eval: false\n1", "#| slow\n1", "", "#| hide\n#| export\nx = 1", "# | slow-down is no flag\n1"]
    nb = dict(cells=[dict(cell_type="code", id=str(i), metadata={}, source=s, outputs=[], execution_count=None) for i, s in enumerate(src)],
              metadata=dict(kernelspec=dict(name="python3", language="python", display_name="python3")), nbformat=4, nbformat_minor=5)
    (tmp_path/"a.ipynb").write_text(json.dumps(nb))
    assert counts(tmp_path/"a.ipynb", ["slow", "gpu"]) == (3, 1, 5)


@pytest.mark.parametrize("nb", RUNS, ids=name)
def test_run_notebook_takes_parameters(nb):
    "One cell that papermill fills, of literals with a meaning each, in a notebook that exports nothing"
    tagged = [c for c in cells(nb) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1, "needs exactly one cell tagged `parameters`"
    lines = [o for o in "".join(tagged[0]["source"]).splitlines() if o.strip() and not o.startswith("#")]
    loose = [o for o in lines if not re.fullmatch(r"\w+:\s*[\w\[\]| ]+\s*=\s*[^#]+#\s*\S.*", o)]
    assert not loose, f"not of the form `name:type = value # meaning`: {loose}"
    assert not any("default_exp" in "".join(c["source"]) for c in cells(nb))


BARE = """
import sys, pathlib
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {gone}: raise ModuleNotFoundError(f'{{name}} is imported while importing the package')
sys.meta_path.insert(0, Gone())
before = set(pathlib.Path().rglob('*'))
import importlib, pkgutil, {lib}, torch
for m in pkgutil.walk_packages({lib}.__path__, '{lib}.'):
    if not m.name.endswith('__main__'): importlib.import_module(m.name)
assert set(pathlib.Path().rglob('*')) == before, 'importing writes files'
assert not torch.cuda.is_initialized(), 'importing starts CUDA'
assert 'matplotlib.pyplot' not in sys.modules, 'importing starts a plotting backend'
"""


def test_imports_need_only_the_core_and_do_nothing(tmp_path):
    "GPU machines often lack the tracker and the notebook tools: these are imported where they are used"
    code = BARE.format(gone={"mediapipe", "lpips", "fastcore", "nbdev", "papermill", "execnb", "IPython", "ipywidgets", "cv2"}, lib=LIB)
    r = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | dict(PYTHONPATH=str(ROOT)), text=True, capture_output=True, timeout=120)
    assert r.returncode == 0, r.stderr[-3000:]


def tracked():
    r = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True, capture_output=True)
    if r.returncode: pytest.skip("not a git checkout")
    return [ROOT/o for o in r.stdout.split("\0") if o and (ROOT/o).is_file()]


def test_nothing_large_or_local_is_tracked():
    "No file above 20 MB, no path of somebody's machine"
    big = [f"{p.name}: {p.stat().st_size/1e6:.0f} MB" for p in tracked() if p.stat().st_size > 20e6]
    assert not big, big
    local = re.compile(r"(?<![\w.])/(?:home|Users|root|work|tmp)/\w+")
    text = {".py", ".md", ".ini", ".toml", ".yml", ".yaml", ".ipynb", ".json", ""}
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in tracked() if p.suffix in text and p != Path(__file__).resolve()
             for m in local.finditer(p.read_text(encoding="utf-8", errors="ignore"))]
    assert not found, found


def test_readme_commands_are_those_that_are_checked():
    "`.ci/run` runs these lines as they stand: install, animate, train, test"
    block = re.search(r"```(?:bash|sh)\n(.*?)```", (ROOT/"README.md").read_text(encoding="utf-8"), re.S)[1].strip().splitlines()
    starts = "pip install -e '.[dev]'", "megaportrait animate ", "papermill nbs/train_base.ipynb ", "OMP_NUM_THREADS=1 nbdev_test"
    assert len(block) == 4 and all(o.startswith(start) for o, start in zip(block, starts)), block


def test_readme_fits_a_first_screen_or_two():
    assert (n := (ROOT/"README.md").stat().st_size) <= 9 * 1024, f"{n} bytes, at most 9 KB"


def test_the_strip_of_the_readme_is_of_256_px():
    from PIL import Image
    strip, = re.findall(r"\((figures/\S+/strip\.webp)\)", (ROOT/"README.md").read_text())
    with Image.open(ROOT/strip) as im: assert im.width >= 4*256 and im.n_frames > 24


def test_parts_import_only_from_parts_above():
    edges = graph(ROOT/LIB)
    assert len(edges) > 50 and not (wrong := upward(edges) + cycles(edges)), wrong


@pytest.mark.parametrize("part, module, wrong", [("nets", "mega.base", True), ("mega", "nets.layers", False)])
def test_a_forbidden_import_is_noticed(copy, part, module, wrong):
    (copy/LIB/part/"added.py").write_text(f"from ..{module} import something\n")
    assert ((f"{part}.added", module) in upward(graph(copy/LIB))) == wrong


def test_every_module_lies_in_a_part(copy):
    assert not (w := homeless(ROOT/LIB)), w
    (copy/LIB/"attic").mkdir()
    for name in ("attic/a.py", "b.py"): (copy/LIB/name).touch()
    assert homeless(copy/LIB) == ["attic/a.py", "b.py"]


def test_a_detour_is_noticed(copy):
    (copy/LIB/"core/a.py").write_text("from .b import x\n")
    (copy/LIB/"core/b.py").write_text("from ..core import a\n")
    assert {"core.a", "core.b"} == set(cycles(graph(copy/LIB)))


def test_a_public_name_exists_once(copy):
    assert not (d := twice(ROOT/LIB)), d
    (copy/LIB/"data/added.py").write_text("def identity_grid(): pass\n")
    assert twice(copy/LIB) == {"identity_grid": ["data.added", "nets.warp"]}


NOUN = re.compile(r"(?:The|An?|What|Whether|Every) ")  # begins a docstring that names a thing instead of telling what is done


def nominal(tree):
    "Public functions of a module, and public methods but for properties, whose docstring begins without a verb"
    properties = {"property", "cached_property"}
    told = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    told |= {f"{c.name}.{n.name}": n for c in tree.body if isinstance(c, ast.ClassDef) for n in c.body if isinstance(n, ast.FunctionDef)
             and not properties & {o.id for o in n.decorator_list if isinstance(o, ast.Name)}}
    return [k for k, n in told.items() if not n.name.startswith("_") and NOUN.match(ast.get_docstring(n) or "")]


def test_docstrings_of_functions_begin_with_a_verb():
    assert not (bad := [f"{m}.{o}" for m, tree in trees().items() for o in nominal(tree)]), bad
    tree = ast.parse("""def f(): 'The square'
def g(): 'Return the square'
def _h(): 'A helper'
class C:
    'A thing'
    def m(self): 'What it holds'
    @property
    def p(self): 'Whether it is full'
""")
    assert nominal(tree) == ["f", "C.m"]


def test_what_is_public_is_used_by_a_second_file():
    "A notebook, a module, a test or a page; names that are promised to users aside"
    pages = [p for p in tracked() if p.suffix in {".py", ".md", ".yaml"} and (LIB not in p.relative_to(ROOT).parts[:1] or p.name in HAND)]
    text = {p: p.read_text(encoding="utf-8") for p in pages} | {p: "\n".join("".join(c["source"]) for c in cells(p)) for p in NBS}
    words = {p: set(re.findall(r"\w+", o)) for p, o in text.items()}
    home = {m[1]: p for p in NBS if (m := re.search(r"^#\|\s*default_exp (\S+)", text[p], re.M))}
    loose = [f"{module}.{o}" for module, tree in trees().items() for o in public(tree)
             if o not in PROMISED and not any(o in w for p, w in words.items() if p != home.get(module))]
    assert not loose, loose


def test_every_import_of_the_package_finds_its_name():
    "In notebooks, tests, pages and strings of them, whether or not they run here"
    has = {k: {o.id if isinstance(o, ast.Name) else getattr(o, "asname", None) or o.name for n in t.body
               for o in (ast.walk(n) if isinstance(n, (ast.Assign, ast.AnnAssign)) else getattr(n, "names", [n]))
               if isinstance(o, (ast.Name, ast.alias, ast.FunctionDef, ast.ClassDef))} for k, t in trees().items()}
    pages = {p: p.read_text(encoding="utf-8") for p in tracked() if p.suffix in {".py", ".md"} and LIB not in p.relative_to(ROOT).parts[:1]}
    pages |= {p: "\n".join("".join(c["source"]) for c in cells(p)) for p in NBS}
    used = [(p, m, o.split(" as ")[0].strip()) for p, text in pages.items()
            for m, names in re.findall(rf"^\s*from {LIB}\.([\w.]+) import \(?([\w, \t]+)", text, re.M) for o in names.split(",") if o.strip()]
    assert len(used) > 500
    lost = [f"{p.relative_to(ROOT)}: {m}.{o}" for p, m, o in used if o not in has.get(m, ()) and f"{m}.{o}" not in has]
    assert not lost, lost


PROMISED = {"canonical_mesh", "warp_portable", "hinge_d", "fit_pose", "main", "dense_flow", "steadiness", "forget_people", "swap_scene", "EXPRESSIONS",
            "mesh_triangles", "explore", "Explorer", "Animator", "PoseStage", "FaceStage", "GazeStage", "EnhancerStage", "StudentStage", "PortraitStage",
            "load_student", "make_talking", "VasaStage", "FewShotStage", "EmoStage", "of_person", "finetune", "reptile",
            "fomaml", "compare_folders", "see_clips", "kernel_distance", "puppet_test", "FeatureSet",
            "ExpressionStage", "TemporalStage", "measure_expressions", "labelled_strip", "Sync"}  # for users outside of this repository


def trees():
    from layers import modules
    return modules(ROOT/LIB)


def test_lines_fit():
    "120 columns in what the notebooks export; the list of names that nbdev writes aside"
    wide = [f"{p.relative_to(ROOT)}:{i}" for p in sorted((ROOT/LIB).rglob("*.py")) if p.name != "_modidx.py"
            for i, line in enumerate(p.read_text(encoding="utf-8").split("\n"), 1) if len(line) > COLUMNS and not line.startswith(("__all__", "           '"))]
    assert not wide, wide


def test_modules_hold_one_idea():
    long = {p.relative_to(ROOT).as_posix(): n for p in sorted((ROOT/LIB).rglob("*.py")) if p.name != "_modidx.py" and (n := len(p.read_text(encoding="utf-8").split("\n"))) > 301}
    assert not long, f"at most 300 lines: {long}"


def test_ruff_is_content():
    r = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr


def blocks(text):
    "What stands between fences of Markdown, but for Python"
    inside, lines = None, []
    for line in text.splitlines():
        if line.startswith("```") and inside is None: inside = line[3:].strip()
        elif line.startswith("```"): inside = None
        elif inside in ("", "bash", "sh"): lines.append(line)
    return lines


def commands():
    "The commands of README, data/README and all chapters, as lists of words"
    pages = [(ROOT/o).read_text(encoding="utf-8") for o in ("README.md", "data/README.md")]
    pages += ["".join(c["source"]) for nb in NBS for c in cells(nb, "markdown")]
    lines = [o for page in pages for line in blocks(page) for o in line.split(" && ")]
    lines += [o for span in re.findall(r"`([^`]+)`", re.sub(r"(?s)```.*?```", "", pages[0])) for o in span.split(" && ")]
    return [shlex.split(o, comments=True) for o in lines if o.startswith(("megaportrait ", "torchrun ", "papermill nbs/"))]


class Parsed(Exception): "A command's arguments are understood"


def test_readme_commands_name_what_exists(monkeypatch):
    "Parameters of the run notebooks, subcommands with all of their arguments, stages and fields of the trainer"
    from torch.distributed.run import parse_args
    from megaportrait.use.command import main
    parse, seen = argparse.ArgumentParser.parse_args, set()

    def stop(self, *args):
        "Parse, and go no further than the arguments of a subcommand"
        got = parse(self, *args)
        if self.prog == "megaportrait": return got
        raise Parsed
    for words in commands():
        if words[0] == "torchrun":
            launched = parse_args(words[1:])  # it sees the flags that follow, too
            assert launched.training_script == "megaportrait", words
            words = ["megaportrait", *launched.training_script_args]
        if words[0] == "megaportrait":
            with monkeypatch.context() as m, pytest.raises(Parsed):
                m.setattr(argparse.ArgumentParser, "parse_args", stop)
                main(words[1:])
            seen.add(words[1])
        if words[0] == "papermill":
            cell, = [c for c in cells(ROOT/words[1]) if "parameters" in c["metadata"].get("tags", [])]
            known = set(re.findall(r"^(\w+):", "".join(cell["source"]), re.M))
            files = [words[i+1] for i, o in enumerate(words) if o == "-f"]
            given = {words[i+1] for i, o in enumerate(words) if o == "-p"} | {k for o in files for k in yaml.safe_load((ROOT/o).read_text(encoding="utf-8"))}
            assert given <= known, f"{words[1]} has no parameter {given-known}"
    assert {"animate", "train", "prepare", "doctor"} <= seen


def test_every_extra_that_is_named_can_be_installed():
    "In a message, a chapter or a page; setup.py offers what settings.ini has"
    offered = {k.removesuffix("_requirements") for k in CFG["DEFAULT"] if k.endswith("_requirements")}
    text = "\n".join(p.read_text(encoding="utf-8") for p in tracked() if p.suffix in {".py", ".ipynb", ".md", ".yml"})
    named = set(re.findall(r"(?:megaportrait|'\.)\\?\[(\w+)\\?\]", text))
    assert {"ray", "dev", "studio"} <= named <= offered, named - offered


def test_chapters_say_what_they_need_and_give():
    run = subprocess.run([sys.executable, "tests/needs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_label_networks_lie_here_with_their_cards():
    found = sorted((ROOT/"data"/"weights").glob("*.safetensors"))
    assert {p.stem for p in found} == {"expression", "face", "gaze", "pose", "sync"}
    assert sum(p.stat().st_size for p in found) <= 20e6
    once = {"expression", "sync"}  # trained with one seed so far
    missed = {"expression", "face", "gaze", "pose"}
    for p in found:
        card = p.with_suffix(".md").read_text(encoding="utf-8")
        assert card.startswith(f"# {p.stem}\n") and "papermill nbs/train_" in card, f"{p.stem}: {card[:200]}"
        assert (p.stem in once) == ("| seed 0 | seed 1 |" not in card) and (p.stem in missed) == ("not met" in card), p.stem


@pytest.mark.parametrize("name, stage, missed", [("tiny-base", "base", True), ("compact-base", "base", True), ("tiny-hr", "hr", True), ("tiny-student", "student", False), ("carrier", "metaportrait", False), ("mp128", "metaportrait", True), ("mp256", "metaportrait", True), ("talker", "vasa", True), ("few-tiny", "fewshot", False), ("emo-tiny", "emo", True)])
def test_a_shipped_model_loads_by_its_name(name, stage, missed):
    import megaportrait
    folder = ROOT/"data"/"weights"/name
    card = (folder/"card.md").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in folder.iterdir()) <= (13e6 if name == "emo-tiny" else 8e6) and card.startswith(f"# {name}\n") and ("not met" in card) == missed
    assert megaportrait.load(name).cfg.stage == stage


@pytest.mark.parametrize("folder", sorted(p.parent for p in (ROOT/"data"/"weights").glob("*/config.json")), ids=lambda p: p.name)
def test_a_shipped_model_has_the_settings_that_its_card_says(folder):
    "Those of train.yaml beside it, or, where there is none, of the run without parameters"
    from megaportrait.core.config import from_dict
    from megaportrait.core.files import load_json
    from megaportrait.emo.config import in_phase
    from megaportrait.mega.config import BaseCfg
    from megaportrait.mega.enhancer import EnhancerCfg, on_base
    from megaportrait.mega.temporal import on_enhancer
    from megaportrait.train.run import configure, registered
    path, d = folder/"train.yaml", load_json(folder/"config.json")
    made = from_dict(d, registered(d["stage"]).cfg)
    if made.stage == "metaportrait" and not made.flow_widths: return  # it has nothing to learn
    p = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else dict(preset="tiny", steps=0)
    cfg = configure(p["preset"], p.get("steps", 0), stage=made.stage, **json.loads(p.get("settings", "{}")))
    if made.stage == "emo": cfg = in_phase(cfg, "speed")  # the last of its phases
    if "prior_points=468" in (folder/"card.md").read_text(encoding="utf-8"): cfg = replace(cfg, prior_points=468)  # when it is saved
    beside = lambda name, kind: from_dict(load_json(folder.with_name(name)/"config.json"), kind)
    if made.stage == "hr": cfg = on_base(cfg, beside("tiny-base", BaseCfg))
    if made.stage == "temporal": cfg = on_enhancer(cfg, beside("tiny-hr", EnhancerCfg))
    assert made == cfg
    assert (f"-f {path.relative_to(ROOT)}" in (folder/"card.md").read_text(encoding="utf-8")) == path.is_file()
