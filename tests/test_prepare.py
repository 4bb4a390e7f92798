"""`megaportrait prepare` with what a notebook cannot hold: it is killed, stopped by Ctrl-C, and loses a worker; the run after that finishes."""
import os, signal, subprocess, sys, time

import pytest

CRASH = """  # a decoder that does not survive one of the files
import sys
if any('spawn_main' in o or 'default_worker' in o for o in sys.orig_argv) and not any('resource_tracker' in o for o in sys.orig_argv):
    import os, megaportrait.core.video as video
    read = video.read_video
    def read_video(path): return os.abort() if 'crash' in str(path) else read(path)
    video.read_video = read_video
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    "Three short videos of synthetic people, and one that kills whoever reads it"
    from megaportrait.core.viz import save_video
    from megaportrait.data.motion import sample_motion
    from megaportrait.data.person import sample_identity
    from megaportrait.data.scene import render
    d = tmp_path_factory.mktemp("videos")
    for i, who in enumerate((5, 15, 29)): save_video(d/f"p{i}#1.mp4", list(render(sample_identity(who), sample_motion(i, 10, 12.), 112).image), 12)
    (d/"q_crash.mp4").write_bytes((d/"p0#1.mp4").read_bytes())
    return d


def start(videos, out, tmp, workers, *more):
    (tmp/"site").mkdir(exist_ok=True)
    (tmp/"site/sitecustomize.py").write_text(CRASH)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp/"site"), *filter(None, [os.environ.get("PYTHONPATH")])]), "OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "240"} # a busy machine takes longer
    cmd = [sys.executable, "-c", "from megaportrait.__main__ import main; main()", "prepare", videos, out, "--size", "64", "--workers", workers, *more]
    return subprocess.Popen(list(map(str, cmd)), env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def finish(p, limit=600):
    try: return *p.communicate(timeout=limit), p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        raise


def clips(out): return {p.name: p.stat().st_ino for p in sorted(out.glob("train/*")) if p.name[0] != "."}


def stop(p, out, n, sig):
    "Send `sig` to the run and its workers as soon as there are `n` clips"
    end = time.time() + 600
    while len(clips(out)) < n and p.poll() is None and time.time() < end: time.sleep(.01)
    assert p.poll() is None, finish(p)
    os.killpg(p.pid, sig)
    return finish(p)


def test_killed_stopped_crashed(videos, tmp_path):
    from megaportrait.data.clips import ClipSet
    out = tmp_path/"out"
    stop(start(videos, out, tmp_path, 1), out, 1, signal.SIGKILL)
    first = clips(out)
    assert first
    _, err, code = stop(start(videos, out, tmp_path, 1), out, 2, signal.SIGINT)
    assert code == 130 and "start again to continue" in err, err
    second = clips(out)
    assert len((out/"index.csv").read_text().splitlines()) == 1+len(second)  # Ctrl-C leaves an index
    assert not list(out.glob("*/.making-*"))
    text, err, code = finish(start(videos, out, tmp_path, 2))
    assert code == 0, err
    assert list(clips(out)) == [f"p{i}#1" for i in range(3)] and not list(out.glob("*/.making-*"))
    assert first.items() <= second.items() <= clips(out).items()  # finished clips were left alone
    assert "crashed: 1 clip\n" in text and len((out/"index.csv").read_text().splitlines()) == 4
    for c in ClipSet(out):
        assert len(c.pose) == len(c.landmarks) == c.frames == len(list((c.folder/"masks").iterdir())) == len(list((c.folder/"frames").iterdir()))
        assert c.frame(c.frames-1).shape == (3, 64, 64) and c.mask(c.frames-1).shape == (1, 64, 64)


def test_jobs_of_an_array_make_one_set(videos, tmp_path):
    "Two jobs at once, each its part, packed; a job that is started again finds its work done"
    from megaportrait.data.clips import ClipSet
    out, job = tmp_path/"out", lambda k: start(videos, out, tmp_path, 0, "--shard", f"{k}/2", "--tar", "1", "--eval-fraction", ".5")
    for text, err, code in map(finish, [job(k) for k in range(2)]): assert code == 0 and "2 clips prepared" in text, err
    assert sorted(p.name for p in out.iterdir()) == ["part-000-of-002", "part-001-of-002"] and not list(out.glob("*/*/*/frames"))
    sets = {s: ClipSet(out, s) for s in ("train", "eval")}
    assert sum(map(len, sets.values())) == len(list(out.glob("*/*/*.tar"))) == 4
    assert not set(sets["train"].identities) & set(sets["eval"].identities)
    for c in (c for s in sets.values() for c in s): assert c.frame(c.frames-1).shape == (3, 64, 64) and len(c.pose) == c.frames
    text, err, code = finish(job(0))
    assert code == 0 and "0 clips prepared (0 frames), 2 were there" in text, text + err


def test_ray(videos, tmp_path):
    "A Ray cluster on this machine prepares a set; the worker that dies costs its file alone, and an address without a cluster is named"
    pytest.importorskip("ray")
    from megaportrait.data.clips import ClipSet
    out = tmp_path/"out"
    _, err, code = finish(start(videos, out, tmp_path, 2, "--ray", "auto"))
    assert code == 1 and "there is no Ray cluster at 'auto'" in err, err
    text, err, code = finish(start(videos, out, tmp_path, 2, "--ray", "local"))
    assert code == 0 and "crashed: 1 clip\n" in text, text + err
    assert [c.name for c in ClipSet(out)] == [f"p{i}#1" for i in range(3)]
    for c in ClipSet(out): assert c.frame(c.frames-1).shape == (3, 64, 64) and len(c.pose) == c.frames
