"""A plain `pip install` without the checkout: the weights come along, and a foreign settings.ini above does not hide them."""
import os, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SKIP = shutil.ignore_patterns(".git", "runs", "build", "*.egg-info", "__pycache__", "nbs", "figures")


def test_the_weights_come_along(tmp_path):
    copy, out, work = tmp_path/"copy", tmp_path/"installed", tmp_path/"work"
    shutil.copytree(ROOT, copy, ignore=SKIP)
    run = lambda *a, **k: subprocess.run([sys.executable, *map(str, a)], text=True, capture_output=True, timeout=300, **k)
    r = run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", out, copy)
    assert r.returncode == 0, r.stderr
    work.mkdir()
    (work/"settings.ini").write_text("[DEFAULT]\nlib_name = another\n")
    code = "import megaportrait; print(megaportrait.__file__); print(megaportrait.load('tiny-base').cfg.stage)"
    r = run("-c", code, cwd=work, env=os.environ | dict(PYTHONPATH=str(out)))
    assert r.returncode == 0, r.stderr
    assert r.stdout.split() == [str(out/"megaportrait"/"__init__.py"), "base"]
