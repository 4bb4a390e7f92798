"""`megaportrait_prepare` with what a notebook cannot hold: workers that die, Ctrl-C, kill -9, and the run after that."""
import os, signal, subprocess, sys, time
from pathlib import Path

import pytest

CRASH = """
import os, megaportrait.face as face
read = face.read_video
def read_video(path): return os.abort() if 'crash' in str(path) else read(path)
face.read_video = read_video
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    "Three short films of synthetic heads, and one that kills whoever reads it"
    from megaportrait.synthetic import render, sample_identity, sample_motion
    from megaportrait.viz import save_video
    d = tmp_path_factory.mktemp("films")
    for i in range(3): save_video(d/f"p{i}#1.mp4", list(render(sample_identity(i), sample_motion(i, 10, 12.), 128).image), 12)
    (d/"crash.mp4").write_bytes((d/"p0#1.mp4").read_bytes())
    return d


def start(films, out, tmp, *args):
    (tmp/"site").mkdir(exist_ok=True); (tmp/"site/sitecustomize.py").write_text(CRASH)
    env = {**os.environ, "PYTHONPATH": str(tmp/"site"), "OMP_NUM_THREADS": "1"}
    cmd = [sys.executable, "-c", "import sys; from megaportrait.data import main; sys.exit(main())", films, out, "--size", "64", "--workers", "2", *args]
    return subprocess.Popen(list(map(str, cmd)), env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def finish(p, limit=600):
    try: return *p.communicate(timeout=limit), p.returncode
    except subprocess.TimeoutExpired: os.killpg(p.pid, signal.SIGKILL); raise


def clips(out): return sorted(p.name for p in out.glob("train/*") if p.name[0] != ".")


def whole(out):
    from megaportrait.data import ClipSet
    for c in ClipSet(out): assert c.frame(c.frames - 1).shape == c.frame(0).shape and len(c.pose) == len(c.landmarks) == c.frames and c.mask(c.frames - 1).shape[0] == 1


def test_crash_leaves_the_others(films, tmp_path):
    text, err, code = finish(start(films, tmp_path/"out", tmp_path))
    assert code == 0, err
    assert clips(tmp_path/"out") == [f"p{i}#1" for i in range(3)]
    assert "crashed: 1 clips" in text and "3 clips prepared" in text
    whole(tmp_path/"out")


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGKILL])
def test_stopped_run_continues(films, tmp_path, sig):
    out = tmp_path/"out"
    p = start(films, out, tmp_path)
    stop = time.time() + 600
    while not clips(out) and p.poll() is None and time.time() < stop: time.sleep(.02)
    os.killpg(p.pid, sig)
    _, err, code = finish(p)
    if sig == signal.SIGINT and code != 0: assert code == 130 and "again to continue" in err, err
    first = {n: (out/"train"/n).stat().st_ino for n in clips(out)}
    text, err, code = finish(start(films, out, tmp_path))
    assert code == 0, err
    assert clips(out) == [f"p{i}#1" for i in range(3)] and not list(out.glob("*/.making-*"))
    assert all((out/"train"/n).stat().st_ino == i for n, i in first.items())  # finished clips were left alone
    assert len((out/"index.csv").read_text().splitlines()) == 4
    whole(out)
