"""What a notebook cannot hold: a run that is killed and interrupted and goes on to the same numbers, two processes that
equal one, and every training command of the book with as many processes as it says. A run is the `tiny` preset that
paints from memory, a few steps on a few synthetic clips, started as a user starts it, or a toy of any preset (`ranks.py`).
"""
import os, shutil, signal, subprocess, sys, time
from pathlib import Path

import pytest
import torch

import ranks
from megaportrait.mega.config import FROM_MEMORY
from test_repo import commands

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds after which a process counts as hung
SMALL = FROM_MEMORY | dict(roll_group=2, adv_from=0., log_every=1, save_every=2, snap_every=1000)
ENV = {k: v for k, v in os.environ.items() if k != "IN_TEST"} | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with clips to train on, a run of six steps that nothing disturbs, and one of a single step"
    from megaportrait.data.clips import ClipSet
    from megaportrait.data.synthetic import make_clips
    from megaportrait.mega.base_stage import BaseStage
    from megaportrait.train.loop import train
    from megaportrait.train.run import configure
    d = tmp_path_factory.mktemp("processes")
    torch.set_num_threads(1)
    make_clips(d/"data", 4, n_frames=2, size=64, progress=False)
    for run, n in (("whole", 6), ("one", 1)): train(BaseStage(), configure("tiny", n, 4, **SMALL), ClipSet(d/"data"), d/run, device="cpu", progress=False)
    return d


def start(d, run, steps, *launcher, workers=0):
    "Train in a process of its own, or several that a launcher starts; what they print goes to RUN.txt"
    args = ["-m", *["--"]*bool(launcher), "megaportrait", "train", "base", "--preset", "tiny", "--data", "data", "--run", run, "--steps", str(steps), "--batch-size", "4",
            "--device", "cpu", "--pairs", "0", "--workers", str(workers), *(o for k, v in SMALL.items() for o in ("--set", f"{k}={v}"))]
    with open(d/f"{run}.txt", "ab") as out:
        return subprocess.Popen([sys.executable, *launcher, *args], cwd=d, env=ENV, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def kill(p):
    "kill -9 for a process and all that it started"
    os.killpg(p.pid, signal.SIGKILL)
    p.wait()


def said(d, run): return (d/f"{run}.txt").read_text(errors="replace")[-3000:]


def finish(p, d, run):
    "The exit code, once it is there"
    try: return p.wait(LIMIT)
    except subprocess.TimeoutExpired:
        kill(p)
        pytest.fail(f"{run} hangs\n{said(d, run)}")


def wait_for(condition, p, d, run, what):
    "Until `condition()`, as long as the process lives"
    end = time.time()+LIMIT
    while not condition():
        if p.poll() is not None: pytest.fail(f"{run} ended with code {p.returncode} before {what}\n{said(d, run)}")
        if time.time() > end:
            kill(p)
            pytest.fail(f"no {what} in {LIMIT} s\n{said(d, run)}")
        time.sleep(.001)


def logged(d, run):
    "How many steps the log of a run has"
    f = d/run/"log.jsonl"
    return f.read_bytes().count(b"\n") if f.exists() else 0


def numbers(o, name=""):
    "Every number in a checkpoint, by its place"
    if isinstance(o, torch.Tensor): yield name, o
    elif isinstance(o, dict):
        for k, v in o.items(): yield from numbers(v, f"{name}/{k}")
    elif isinstance(o, (list, tuple)):
        for i, v in enumerate(o): yield from numbers(v, f"{name}/{i}")
    elif isinstance(o, (int, float)): yield name, torch.tensor(o, dtype=torch.float64)


def checkpoint(d, run): return dict(numbers(torch.load(d/run/"last.pt", weights_only=True)))


def test_a_killed_and_an_interrupted_run_goes_on_to_the_same_numbers(place):
    "kill -9 while a checkpoint is being written, Ctrl-C in a terminal (which reaches the loader's workers, too) after it went on, then to the end: as if nothing had happened"
    d, run = place, "torn"
    p = start(d, run, 6)
    wait_for(lambda: logged(d, run) >= 4 and any((d/run).glob(".last*")), p, d, run, "a checkpoint being written at step 4")
    kill(p)
    assert 4 <= logged(d, run) < 6, "killed too late"
    p = start(d, run, 6, workers=2)
    wait_for(lambda: logged(d, run) in (3, 5), p, d, run, "a step after it went on")
    os.killpg(p.pid, signal.SIGINT)
    assert finish(p, d, run) == 130 and "stopped at step" in said(d, run), said(d, run)
    at = checkpoint(d, run)["/step"]
    assert at == logged(d, run) < 6, "Ctrl-C saves the step that it stopped after"
    assert finish(start(d, run, 6), d, run) == 0, said(d, run)
    a, b = checkpoint(d, "whole"), checkpoint(d, run)
    assert a.keys() == b.keys() and len(a) > 500
    assert not (bad := [k for k in a if not torch.equal(a[k], b[k])]), f"{len(bad)} of {len(a)} numbers differ, the first in {bad[:3]}"
    assert (d/"whole"/"model.safetensors").read_bytes() == (d/run/"model.safetensors").read_bytes()
    assert logged(d, run) == 6, "steps that were made twice are logged once"


def test_two_processes_equal_one(place):
    """The same batch in two halves gives the same gradient, seen in the first moments of the optimisers after one step.
    The generator's first gradient is ill-conditioned (in float32 two ways to sum it differ by about a hundredth)."""
    d = place
    assert finish(start(d, "two", 1, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"), d, "two") == 0, said(d, "two")
    a, b = checkpoint(d, "one"), checkpoint(d, "two")
    for net, most in (("model", .03), ("critic", 1e-4)):
        one, two = (torch.cat([v.flatten() for k, v in o.items() if k.startswith(f"/opts/{net}/") and k.endswith("exp_avg")]) for o in (a, b))
        assert one.norm() > 0 and (off := (one-two).norm()/one.norm()) < most, f"{net}: the gradients differ by {off:.1e}"


def training():
    "Stage, preset and processes of every training command of README and chapters: how many, and the command"
    found = {}
    for words in commands():
        if words[0] == "torchrun":
            from torch.distributed.run import parse_args
            a = parse_args(words[1:])
            n, words = int(a.nnodes.split(":")[0])*int(a.nproc_per_node), ["megaportrait", *a.training_script_args]
        else: n = 1
        if words[:2] != ["megaportrait", "train"]: continue
        kept = [o for k, v in zip(words, words[1:]) if k in ("--preset", "--from", "--set") for o in (k, v)]
        if not {"--preset", "--from"} & {*kept}: kept += ["--preset", "tiny"]
        found[words[2], "-".join(o for o in kept if o[0] != "-").replace("/", "."), n] = n, [*words[1:3], *kept]
    # no chapter starts sixteen, but a batch of 16 has to serve as many, one sample each
    found["base", "base512", 16] = 16, ["train", "base", "--preset", "base512"]
    return {" ".join(map(str, k)): v for k, v in found.items() if k[0] != "base" or ("all", *k[1:]) not in found}  # all begins with base


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    "Data for toys, and a base for those that stand on one"
    d = tmp_path_factory.mktemp("toy")
    ranks.data(d)
    on_ranks(d, 1, ["train", "base", "--preset", "base256"])
    shutil.move(d/"run", d/"base")
    return d


def on_ranks(d, n, command):
    "Run a command at toy size in so many processes"
    shutil.rmtree(d/"run", ignore_errors=True)
    with open(d/"run.txt", "wb") as out:
        p = subprocess.Popen([sys.executable, str(ROOT/"tests"/"ranks.py"), str(n), str(d), *command], env=ENV, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    assert finish(p, d, "run") == 0, said(d, "run")


@pytest.mark.parametrize("name", training())
def test_a_training_command_starts_with_its_processes(toy, name):
    "The batch can be shared, groups fit, files are read: one step at toy size with the preset's batch, groups and parts"
    n, command = training()[name]
    on_ranks(toy, n, command)
    assert list((toy/"run").rglob("model.safetensors"))


@pytest.mark.parametrize("every", [2, 3])
def test_stages_in_a_row_stand_on_one_base(toy, every):
    "Two processes, and a last step that is saved in the loop or after it: no process starts a stage before its base is written"
    on_ranks(toy, 2, ["train", "all", "--preset", "base512", "--steps", "2", "--set", f"save_every={every}", "--set", "bs=4", "--set", "micro=0"])
    steps = {o.parent.name: torch.load(o, weights_only=True)["step"] for o in (toy/"run").rglob("last.pt")}
    assert steps == dict(base=2, hr=2, student=2)
