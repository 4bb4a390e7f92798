"""Spoil files at random and read them, for as long as one likes; what raises anything but a sentence is kept.

    python tests/fuzz.py --seconds 600 --seed 1 --log tests/fuzz.log --keep spoiled/

One line of the log for every run: cases, how they ended, what failed. Exit code 1 if anything did.
"""
import argparse, random, sys, tempfile, time, warnings
from collections import Counter
from datetime import date
from pathlib import Path

import spoil
from megaportrait import __version__
from megaportrait.core.photos import Unreadable, read_photo
from megaportrait.core.video import read_video
from megaportrait.core.writer import sound_of
from megaportrait.data.tables import read_table


def a_photo(r, folder):
    end = r.choice(list(spoil.PHOTOS))
    return folder/f"a{end}", spoil.photo(end, r.choice(spoil.PHOTOS[end][1]), r.randint(1, 90), r.randint(1, 90), 1), read_photo


def a_video(r, folder):
    end = r.choice(list(spoil.VIDEOS))
    def read(path):
        v = read_video(path)
        for _ in v: pass
        sound_of(v, r.choice([".mp4", ".webm"]))
    return folder/f"a{end}", spoil.video(end, r.randint(1, 12), 25, r.random() < .5), read


def a_table(r, folder):
    rows = [dict(file=f"{k}.mp4", identity=r.choice(["anna", "Zoë", "b;c"])) for k in range(r.randint(1, 4))]
    kind = r.choice(["csv", "json"])
    data = spoil.table(rows, kind, r.choice(",;\t"), r.choice(["utf-8", "utf-16", "cp1252"]), r.random() < .5, "\n")
    return folder/f"a.{kind}", data, lambda path: read_table(path, ("file", "identity"))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--log", default="")
    p.add_argument("--keep", default="", help="folder for files that fail")
    a = p.parse_args()
    warnings.simplefilter("ignore")
    r, ends, failed, start, slow = random.Random(a.seed), Counter(), [], time.time(), 0.
    with tempfile.TemporaryDirectory() as d:
        while time.time() - start < a.seconds:
            make = r.choice([a_photo, a_video, a_table])
            path, data, read = make(r, Path(d))
            path.write_bytes(spoil.spoiled(data, r.choice(spoil.WAYS), r.random(), r.randint(0, 10**6)))
            began = time.time()
            try:
                read(path)
                ends[f"{make.__name__[2:]} read"] += 1
            except (Unreadable, ValueError) as e:
                good = str(path) in str(e)
                ends[f"{make.__name__[2:]} {'refused' if good else 'not named'}"] += 1
                if not good: failed.append((path, repr(e)))
            except Exception as e:
                failed.append((path, repr(e)))
                if a.keep:
                    Path(a.keep).mkdir(parents=True, exist_ok=True)
                    (Path(a.keep)/f"{a.seed}_{sum(ends.values())}{path.suffix}").write_bytes(path.read_bytes())
            slow = max(slow, time.time() - began)
    line = f"{date.today()} megaportrait {__version__} seed {a.seed}: {sum(ends.values()) + len(failed)} cases, " + ", ".join(f"{k} {v}" for k, v in sorted(ends.items()))
    line += f"; the slowest took {slow:.1f} s; failed {len(failed)}" + "".join(f"\n  {path.name}: {e}" for path, e in failed)
    print(line)
    if a.log:
        with open(a.log, "a") as f: f.write(line + "\n")
    return bool(failed)


if __name__ == "__main__": sys.exit(main())
