"""Whatever people have in their folders is read, or refused by a sentence that names it: properties over inputs that the test makes.

Some seven hundred cases, drawn alike each time; `python tests/fuzz.py` draws others for as long as one likes.
"""
import json, math, warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import spoil
from megaportrait.core.config import TrainCfg, from_dict, to_dict
from megaportrait.core.photos import Unreadable, read_photo
from megaportrait.core.video import read_video
from megaportrait.data.tables import read_table

some = lambda n: settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
accidents = st.tuples(st.sampled_from(spoil.WAYS), st.floats(0, 1), st.integers(0, 99))
pictures = st.sampled_from([(end, mode) for end, (_, modes) in spoil.PHOTOS.items() for mode in modes])


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return tmp_path_factory.mktemp("inputs")


def refused(path, e):
    "A sentence of one line, with the file and more than that"
    assert str(path) in str(e) and len(str(e)) > len(str(path)) + 10 and "Traceback" not in str(e), e


@some(220)
@given(pictures, st.integers(1, 70), st.integers(1, 70), accidents)
def test_photos(folder, kind, width, height, accident):
    path = folder/f"photo{kind[0]}"
    path.write_bytes(spoil.spoiled(spoil.photo(*kind, width, height, 1), *accident))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own words on odd files
        try: x = read_photo(path)
        except Unreadable as e:
            assert accident[0] != "whole", e
            return refused(path, e)
    assert x.dtype == np.uint8 and x.ndim == 3 and x.shape[2] == 3
    if accident[0] == "whole": assert x.shape == (height, width, 3)


@some(120)
@given(st.sampled_from(list(spoil.VIDEOS)), st.integers(1, 12), st.sampled_from([1, 5, 25, 30]), st.booleans(), accidents, st.sampled_from([0., .1]))
def test_videos(folder, end, frames, rate, sound, accident, start):
    rate = 25 if end in (".ts", ".avi") else rate  # MPEG-2 knows few rates
    path = folder/f"video{end}"
    path.write_bytes(spoil.spoiled(spoil.video(end, frames, rate, sound), *accident))
    try:
        v = read_video(path, start)
        times, shapes = zip(*((t, x.shape) for t, x in v.timed()))
    except Unreadable as e: return refused(path, e)
    assert len(set(shapes)) == 1 and (np.diff(times) > 0).all() and times[0] == 0 and v.seconds > times[-1]
    if accident[0] == "whole" and not start: assert len(times) == frames and abs(v.seconds - frames/rate) < .1 and not v.ends


cell = st.text(st.characters(codec="cp1252", exclude_characters="\r\n\x00", exclude_categories=("Cc",)), min_size=1, max_size=12).map(str.strip).filter(lambda o: o and '"' not in o)


@some(160)
@given(st.lists(st.fixed_dictionaries(dict(file=cell, identity=cell)), min_size=1, max_size=5), st.sampled_from(["csv", "json"]), st.sampled_from(",;\t|"),
       st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_tables_are_read_as_they_were_written(folder, rows, kind, mark, encoding, upper, line):
    path = folder/f"table.{kind}"
    path.write_bytes(spoil.table(rows, kind, mark, encoding, upper, line))
    read = read_table(path, ("file", "identity"))
    try: path.read_bytes().decode()
    except UnicodeDecodeError: same = encoding in ("cp1252", "utf-16")
    else: same = encoding != "cp1252" or all(o.isascii() for r in rows for o in r.values())  # else it reads as UTF-8, too
    if same: assert read == rows


@some(120)
@given(st.lists(st.fixed_dictionaries(dict(file=cell, identity=cell)), min_size=1, max_size=4), st.sampled_from(["csv", "json"]), st.sampled_from(",;"), accidents)
def test_spoiled_tables(folder, rows, kind, mark, accident):
    path = folder/f"spoiled.{kind}"
    path.write_bytes(spoil.spoiled(spoil.table(rows, kind, mark, "utf-8", False, "\n"), *accident))
    try: read = read_table(path, ("file", "identity"))
    except ValueError as e: return refused(path, e)
    assert all(o["file"] and o["identity"] for o in read)


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda o: st.lists(o, max_size=3) | st.dictionaries(st.text(max_size=3), o, max_size=2), max_leaves=4)
fields = st.sampled_from([*to_dict(TrainCfg()), "learning", "ls"])


@some(200)
@given(st.dictionaries(fields, anything, max_size=3) | anything)
def test_configurations(changes):
    given = to_dict(TrainCfg()) | changes if isinstance(changes, dict) else changes
    try: cfg = from_dict(json.loads(json.dumps(given)), TrainCfg)
    except ValueError as e:
        assert len(str(e)) > 10
        return
    assert isinstance(cfg, TrainCfg) and cfg.bs > 0 and all(math.isfinite(v) for v in vars(cfg).values() if isinstance(v, float))
