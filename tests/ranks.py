"""Training commands at toy size in many processes, forked from one that has imported everything.

    python tests/ranks.py N FOLDER train base --preset base512     what torchrun would start N times, for one step
"""
import os, socket, sys, time
from dataclasses import replace
from pathlib import Path

import torch

NETS = dict(size=32, groups=2, vol_ch=4, vol_depth=4, app_widths=(4, 8, 8), app_blocks3d=1, global_size=32, global_width=4, global_layers=(1, 1, 1, 1), e_ch=8, mtn_size=32, mtn_width=4, z_dim=16,
            warp_widths=(8, 4), warp_factors=((1, 2, 2),), g3d_widths=(4, 8, 8), g3d_factors=((1, .5, .5), (1, .5, .5)), g2d_width=8, g2d_blocks=1, g2d_ups=(8, 4))
JUDGES = dict(w_gaze=0., percept="random", percept_width=4, percept_scales=1, disc_width=4, disc_scales=1, log_every=1, snap_every=10**6)
TOY = dict(base=NETS | JUDGES, hr=NETS | JUDGES | dict(enh_widths=(4, 8, 8), enh_ch=2, enh_depth=4, enh_blocks3d=1, enh_width=8, enh_blocks=1, enh_ups=(8, 4), enh_tail=(4,)),
           student=JUDGES | dict(size=32, n_avatars=2, dt_width=4, dt_layers=(1, 1, 1), dt_widths=(8, 8, 8, 8), dt_side=8, dt_groups=2))


def shrink():
    "Every preset of the stages of MegaPortraits with small networks; batches, groups and parts stay as they are, and a taught motion encoder"
    from megaportrait.train.run import registered
    for stage, over in TOY.items():
        presets = registered(stage).presets
        for k, cfg in presets.items():
            taught = {o: getattr(cfg, o) for o in ("mtn_size", "mtn_width", "z_dim")} if getattr(cfg, "expression", False) else {}
            presets[k] = replace(cfg, **over | taught)


def data(d):
    "People to learn from and to measure on, and stills of twice the side"
    from megaportrait.data.synthetic import make_clips
    for folder, size in (("data", 32), ("stills", 64)):
        for split, n in dict(train=5, eval=2).items(): make_clips(d/folder, n, n_frames=2, size=size, split=split, progress=False)


def slowly(save):
    "A file system that takes its time, so that whoever does not wait is noticed"
    def later(*args):
        time.sleep(1)
        save(*args)
    return later


def go(d, args):
    "The command, on the folder's data"
    from megaportrait.train import loop, run
    a = run._parser().parse_args(args)
    vars(a).update(device="cpu", data=str(d/"data"), stills=str(d/"stills"), run=str(d/"run"), pairs=0, workers=0, steps=a.steps or 1)
    if a.stage in ("hr", "student"): a.base = str(d/"base")
    if a.start: a.start = str(d/"base")
    loop.save_checkpoint = slowly(loop.save_checkpoint)
    run._train(a)


def rank(i, n, port, d, args):
    "One of the processes"
    from megaportrait.train.run import leave
    os.environ |= {k: str(v) for k, v in dict(RANK=i, LOCAL_RANK=i, WORLD_SIZE=n, LOCAL_WORLD_SIZE=n, MASTER_ADDR="127.0.0.1", MASTER_PORT=port).items()}
    try: go(d, args)
    except BaseException as e:
        print(f"process {i}: {type(e).__name__}: {e}", flush=True)
        leave(1)
    leave(0)


def main(n, folder, _, *args):
    torch.set_num_threads(1)
    d = Path(folder)
    shrink()  # imports every stage, before processes part
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    if n == 1: return go(d, args)
    children = []
    for i in range(n):
        if not (pid := os.fork()): rank(i, n, port, d, args)
        children.append(pid)
    return max(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in children)


if __name__ == "__main__": sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
