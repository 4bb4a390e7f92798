"""What `.ci/run` does, phase by phase: each prints its output, its time and its checks, the end counts them all.

Needs nothing but Python. The package is installed into an environment of its own outside of the checkout. Times are
limits as well: a phase that takes longer is stopped with all that it started (CI_SLACK=2 doubles them on a slow machine).
"""
import json, os, re, shutil, signal, subprocess, sys, tempfile, threading, time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SLACK = float(os.environ.get("CI_SLACK", 1))
MINUTES = dict(install=15, repository=20, animate=5, tests=52, ladder=16, training=65, all=95)  # processors differ by a factor of three
GOALS = dict(tests=10, training=15)  # minutes on two quiet cores, with nothing beside it
INSTALL = "pip install -e '.[dev]'"  # README's first line
RUN = ROOT/"runs"/"base"  # where the default training writes
# key of metrics.json, key that is taken off, what a run must reach (least, most), what it should reach
BARS = [("psnr", "psnr_copy_source", (5, None), (5.5, None)), ("cross_psnr", "cross_psnr_copy_source", (4.5, None), (5, None)),
        ("cross_psnr", "cross_psnr_copy_driver", (6, None), (6, None)), ("closer_to_truth", None, (.9, None), (.95, None)),
        ("yaw_slope", None, (.8, 1.7), (.85, 1.15)), ("yaw_error_deg", None, (None, 12), (None, 4))]
LADDER = ("pair", "clip", "few", "unseen")  # rungs, each with marks of its own in the ladder's chapter
results = []  # (passed, text)


def check(ok, text):
    results.append((bool(ok), text))
    print(f"{'ok  ' if ok else 'FAIL'} {text}", flush=True)
    return bool(ok)


class Phase:
    "Prints a heading and the seconds, turns an exception into a failed check"
    def __init__(self, name): self.name = name
    def __enter__(self):
        self.start = time.time()
        print(f"\n--- {self.name}", flush=True)
        return self
    def __exit__(self, kind, err, tb):
        print(f"--- {self.name}: {time.time()-self.start:.0f} s", flush=True)
        if kind and issubclass(kind, Exception):
            check(False, f"{self.name}: {kind.__name__}: {err}")
            return True


def shell(command, env, minutes, log=None):
    "Run a line of bash; its exit code, None when it was stopped at the limit. What it started ends with it."
    print("$ " + command, flush=True)
    out = open(log, "wb") if log else None
    p = subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT if log else None,
                         start_new_session=True)
    try: return p.wait(minutes*60*SLACK)
    except subprocess.TimeoutExpired: return None
    finally:
        try: os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError: pass  # it ended by itself, with all its children
        p.wait()
        if out: out.close()


def took(start, phase):
    "How long a phase took beside its limit and its goal, in words"
    m = (time.time()-start)/60
    return f"{m:.1f} minutes, limit {MINUTES[phase]}; the goal, {GOALS[phase]} with nothing beside it, is {'reached' if m < GOALS[phase] else 'not reached'}"


def readme_lines():
    "The commands of README's first block: install, animate, train, test"
    block = re.search(r"```(?:bash|sh)\n(.*?)```", (ROOT/"README.md").read_text(encoding="utf-8"), re.S)
    lines = block[1].strip().splitlines() if block else []
    if len(lines) != 4 or lines[0] != INSTALL: raise ValueError(f"README's first block must be four lines, the first {INSTALL!r}; found {lines}")
    return lines[1:]


def state():
    "What git sees of the checkout: the tracked files as they are, and files that are neither tracked nor ignored"
    git = lambda *a: subprocess.run(["git", *a], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    return git("status", "--porcelain", "-uall"), git("diff", "HEAD")


def environment(work):
    "PATH and settings of the new environment; no registry or model is reachable through the proxies that requests and pip honour"
    env = {k: v for k, v in os.environ.items() if k not in ("IN_TEST", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND")}
    env |= dict(PATH=f"{work}/venv/bin:{env['PATH']}", VIRTUAL_ENV=f"{work}/venv", IPYTHONDIR=f"{work}/ipython", MPLCONFIGDIR=f"{work}/mpl",
                JUPYTER_RUNTIME_DIR=f"{work}/jupyter", XDG_CACHE_HOME=f"{work}/cache", TORCH_HOME=f"{work}/cache/torch", CI="true", PYTHONUNBUFFERED="1")
    dead = "http://127.0.0.1:9"
    return env, env | dict(http_proxy=dead, https_proxy=dead, HTTP_PROXY=dead, HTTPS_PROXY=dead, ALL_PROXY=dead, no_proxy="localhost,127.0.0.1", HF_HUB_OFFLINE="1")


def install(work, env):
    "uv resolves and installs in a tenth of pip's time; pip does where uv cannot"
    env = {k: v for k, v in env.items() if k != "XDG_CACHE_HOME"}  # wheels may come from the user's cache
    subprocess.run([sys.executable, "-m", "venv", f"{work}/venv"], check=True)
    rc = shell("pip install -q uv && uv pip install -q -e '.[dev]'", env, MINUTES["install"])
    if rc:
        print("uv did not do it, so pip", flush=True)
        rc = shell(INSTALL, env, MINUTES["install"])
    check(rc == 0, "the package installs with its development tools")
    check(shell("cd / && python -c 'import megaportrait, torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), .5)'", env, 2) == 0,
          "the package imports, torch and torchvision fit each other")


def repository(work, env):
    "tests/: export, cleanliness, README, and what takes processes"
    rc = shell(f"python -m pytest -q -p no:cacheprovider --durations=5 --junitxml={work}/junit.xml tests", env | dict(OMP_NUM_THREADS="1"), MINUTES["repository"])
    if rc is None or not Path(f"{work}/junit.xml").exists():
        return check(False, f"pytest in {MINUTES['repository']} minutes" if rc is None else f"pytest ended with exit code {rc} and left no report")
    for case in ET.parse(f"{work}/junit.xml").iter("testcase"):
        if case.find("skipped") is not None:
            print(f"skip {case.get('name')}: {case.find('skipped').get('message')}")
            continue
        results.append((not any(case.find(o) is not None for o in ("failure", "error")), f"tests: {case.get('name')}"))


def animate(work, env, line):
    "README's line that moves a face, elsewhere: what it writes must be a video"
    start, out = time.time(), f"{work}/out.mp4"
    rc = shell(line.replace(" out.mp4", f" {out}"), env | dict(OMP_NUM_THREADS="1"), MINUTES["animate"])
    check(rc == 0 and Path(out).is_file() and Path(out).stat().st_size > 1000, f"README's line animates a person, in {time.time()-start:.0f} s on one thread")


def tests(work, env, line):
    "README's test line: every notebook, then how much of each was executed"
    start, log = time.time(), f"{work}/nbdev_test.log"
    rc = shell(line, env | dict(OMP_NUM_THREADS="1"), MINUTES["tests"], log)
    text = Path(log).read_text(encoding="utf-8", errors="replace")
    print(text[-20_000:], flush=True)
    names = [p.name for p in sorted((ROOT/"nbs").rglob("*.ipynb")) if not any(o[0] in "._" for o in p.relative_to(ROOT).parts)]
    failed = re.findall(r"^\t(\S+\.ipynb)$", text.rsplit("Failed On The Following Notebooks", 1)[-1], re.M) if rc else []
    if rc is None: check(False, f"nbdev_test in {MINUTES['tests']} minutes")
    elif rc and not failed: check(False, f"nbdev_test ended with exit code {rc} and named no notebook")
    else:
        for n in names: results.append((n not in failed, n))
        print(f"{len(names)-len(failed)} of {len(names)} notebooks pass in {took(start, 'tests')}; failed: {', '.join(failed) or 'none'}")
    check(rc == 0 and shell("python tests/cells.py", env, 2) == 0, "nbdev_test executes at least 90 % of the code cells of every notebook")


def ladder(work, env):
    "From one pair to people never seen, at toy size on one core: where training breaks, if it does"
    rc = shell(f"python -m megaportrait.study.ladder --run {work}/ladder", env, MINUTES["ladder"], f"{work}/ladder.log")
    file = Path(f"{work}/ladder/ladder.json")
    found = {o["rung"]: o for o in json.loads(file.read_text(encoding="utf-8"))} if file.exists() else {}
    missing = f"not reached in {MINUTES['ladder']} minutes" if rc is None else "not reached"
    for name in LADDER:
        o = found.get(name)
        check(o and o["passed"], f"ladder: {name}: " + (", ".join(f"{k} {v:.2f}" for k, v in o["numbers"].items()) + (f"; {o['look']}" if o["look"] else "") if o else missing))


def training(work, env, line):
    "README's training line, on one core, and what the model reaches on people it never saw"
    if RUN.exists(): RUN.rename(RUN.with_name(f"{RUN.name}.{int(time.time())}"))  # from nothing, not from an earlier run
    start, rc = time.time(), shell(line, env, MINUTES["training"], f"{work}/training.log")
    if rc: print(Path(f"{work}/training.log").read_text(encoding="utf-8", errors="replace")[-3000:], flush=True)
    check(rc == 0, f"the default training ends well in {took(start, 'training')}" + ("" if rc == 0 else " (stopped)" if rc is None else f" (exit code {rc})"))
    m = json.loads((RUN/"metrics.json").read_text(encoding="utf-8"))
    within = lambda v, low, high: (low is None or v >= low) and (high is None or v <= high)
    span = lambda low, high: " to ".join(str(o) for o in (low, high) if o is not None) if None not in (low, high) else f"at least {low}" if high is None else f"at most {high}"
    for key, base, floor, goal in BARS:
        value = m[key] - (m[base] if base else 0)
        check(within(value, *floor), f"{key}{f' - {base}' if base else ''} = {value:.3f}, {span(*floor)}; the goal, {span(*goal)}, is {'reached' if within(value, *goal) else 'not reached yet'}")


def learn(work, env, line):
    "What trains, on one core beside the tests: a second thread would not make it faster"
    env |= dict(OMP_NUM_THREADS="1")
    with Phase("ladder"): ladder(work, env)
    with Phase("training"): training(work, env, line)


def main():
    begin, work = time.time(), Path(tempfile.mkdtemp(prefix="megaportrait-ci-"))
    try:
        animate_line, train_line, test_line = readme_lines()
        before, (env, offline) = state(), environment(work)
        with Phase("install"): install(work, env)
        if results[-1][0]:
            beside = threading.Thread(target=learn, args=(work, offline | {}, train_line))
            beside.start()
            with Phase("repository"): repository(work, offline)
            with Phase("animate"): animate(work, offline, animate_line)
            with Phase("tests"): tests(work, offline, test_line)
            beside.join()
        check(state() == before, "the checkout is as it was")
        check(time.time()-begin < MINUTES["all"]*60*SLACK, f"all of it within {MINUTES['all']} minutes: {(time.time()-begin)/60:.1f}")
    except Exception as e: check(False, f"{type(e).__name__}: {e}")
    finally: shutil.rmtree(work, ignore_errors=True)
    failed = [t for ok, t in results if not ok]
    print("\n" + "\n".join(f"FAIL {t}" for t in failed) if failed else "")
    print(f"{len(results)-len(failed)} passed, {len(failed)} failed", flush=True)
    return bool(failed)


if __name__ == "__main__": sys.exit(main())
