"""The widgets in a real JupyterLab in a real browser; skipped where there is none.

    pip install -e '.[dev,browser]' && pytest tests/test_browser.py
    EXPLORER_LATENCY=figures/explorer_latency.json pytest tests/test_browser.py -k waits   # writes the measured times
    FIELD_LATENCY=figures/field_latency.json FIELD_PICTURE=figures/flow_field.png pytest tests/test_browser.py -k mouse   # likewise, of the field that the mouse turns
"""
import io, os, statistics

import numpy as np
import pytest
import torch
from lab import ROOT, Lab, needs
from PIL import Image

needs()
PICTURE = "img.flow-explorer"


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        lab.open("nbs/use/15_flow_explorer.ipynb")
        assert lab.run_all() == []
        yield lab


def output(sheet):
    "The picture that the model made, out of the explorer's, as (1, 3, 128, 128) in [0, 1]"
    from megaportrait.use.flow_pictures import SIDE
    from megaportrait.use.flow_sheet import GAP, HEAD
    x = 2*(SIDE + GAP) + GAP
    im = Image.open(io.BytesIO(sheet)).crop((x, HEAD, x + SIDE, HEAD + SIDE)).resize((128, 128), Image.BOX)
    return torch.from_numpy(np.array(im)).permute(2, 0, 1)[None]/255


@torch.no_grad()
def test_yaw_turns_the_nose_and_back_is_the_same_picture(lab):
    from megaportrait.core.shipped import load_net
    from megaportrait.measure.metrics import yaw_of
    from megaportrait.nets.motion import PoseNet
    net, start = load_net("pose", PoseNet), lab.value("yaw")
    yaw = lambda: yaw_of(net(output(lab.image(PICTURE)))).item()
    lab.set("yaw", 0)
    front, there = lab.image(PICTURE), yaw()
    lab.set("yaw", 20)
    turned = yaw()
    assert 12 < turned - there < 28, (there, turned)  # to the right of the picture
    lab.set("yaw", 0)
    assert lab.image(PICTURE) == front
    lab.set("yaw", start)


@torch.no_grad()
def test_strength_leads_from_the_sources_expression_to_the_drivers(lab):
    from megaportrait.use.edit import Edit
    from megaportrait.use.puppet import open_base
    from megaportrait.use.source import open_source
    model = open_base("compact-base")
    source, driver = ((o.crop(model.in_size), o.pose) for o in (open_source("person 26", None), open_source("person 9", None, frame=20)))
    avatar = model.avatar(*source)
    for strength, whose in ((0, source), (1, driver)):
        lab.set("strength", strength)
        pose = Edit(**{k: lab.value(k) for k in ("yaw", "pitch", "roll", "x", "y", "scale")}).pose
        mine, other = (model.drive_z(avatar, model.motion(*o), pose) for o in (whose, driver if whose is source else source))
        off = lambda o: (output(lab.image(PICTURE)) - o).abs().mean()
        assert off(mine) < .02 and off(mine) < off(other)/2, (strength, off(mine), off(other))


def test_how_long_a_hand_waits(lab):
    "From a key press on a slider to the new picture, and to the truth in it; written where EXPLORER_LATENCY says, else only asked to be there"
    from megaportrait.core.files import save_json
    told = dict(model="compact-base", cpus=len(os.sched_getaffinity(0)), load=round(os.getloadavg()[0], 1), presses=20)
    for label in ("yaw", "strength", "turn"):
        lab.set(label, 0)
        first, last = zip(*(lab.latency(label, "ArrowRight", PICTURE) for _ in range(20))) # always onwards: no truth is known from before
        told |= {f"{label}_ms": round(statistics.median(first), 1), f"{label}_truth_ms": round(statistics.median(last), 1)}
        assert 0 < told[f"{label}_ms"] <= told[f"{label}_truth_ms"]
    if path := os.environ.get("EXPLORER_LATENCY"): save_json(ROOT/path, told)


def test_the_mouse_turns_the_field_and_sliders_move_it(lab):
    "k3d comes when it is asked for; how far it lags behind the picture is written where FIELD_LATENCY says"
    from megaportrait.core.files import save_json
    needs("k3d")
    tick, canvas = lab.page.locator(".widget-checkbox:has-text('turn the field by the mouse') input").first, ".flow-field canvas"
    lab.set("yaw", 0)
    tick.check()
    lab.page.wait_for_selector(canvas)
    lab.settle()
    box = lab.page.locator(canvas).first
    box.scroll_into_view_if_needed()
    b, seen = box.bounding_box(), box.screenshot()
    lab.page.mouse.move(b["x"] + 150, b["y"] + 150)
    lab.page.mouse.down()
    for k in range(10): lab.page.mouse.move(b["x"] + 150 + 10*k, b["y"] + 150)
    lab.page.mouse.up()
    lab.page.wait_for_timeout(1000)
    assert box.screenshot() != seen
    n = 10
    told = dict(model="compact-base", cpus=len(os.sched_getaffinity(0)), load=round(os.getloadavg()[0], 1), presses=n, arrows=int(lab.value("arrows")))
    told["picture_ms"] = round(statistics.median(lab.latency("yaw", "ArrowRight", PICTURE)[0] for _ in range(n)), 1)
    told["field_ms"] = round(statistics.median(lab.drawing_latency("yaw", "ArrowRight") for _ in range(n)), 1)
    if path := os.environ.get("FIELD_LATENCY"): save_json(ROOT/path, told)
    if path := os.environ.get("FIELD_PICTURE"): Image.open(io.BytesIO(box.screenshot())).convert("RGB").quantize(64).save(ROOT/path)
    tick.uncheck()
    lab.settle()
    assert lab.page.locator(canvas).count() == 0


def test_nothing_went_wrong_in_the_console(lab):
    assert lab.errors() == []
