"""Find where the 468 points of the face mesh lie on the average head: draw people at rest, ask the tracker, move each point by what is missing

    python data/fit_landmarks.py landmarks.npy --people 60
    python data/make_kit.py megaportrait/data/people_kit.npz --landmarks landmarks.npy
"""
import argparse
from dataclasses import replace
import numpy as np, torch
from megaportrait.core import pose as P
from megaportrait.data.body import Body, landmark_places, nearest_on_surface
from megaportrait.data.figure import build_person, forget_people, to_screen
from megaportrait.data.face import flip_index, track, Tracker
from megaportrait.data.kit import load_kit, SKIN
from megaportrait.data.motion import make_motion
from megaportrait.data.person import sample_identity
from megaportrait.data.scene import render


def see(people, size):
    "For each person: identity, motion, the bones that the picture was drawn with, and the tracker's landmarks (T, 478, 2), NaN where nobody was found"
    out = []
    with Tracker(masks=False) as tracker:
        for s in range(people):
            i = sample_identity(f'fit {s}', odd=0.)
            i = replace(i, hat='', glasses='', fringe=0., scene=replace(i.scene, jpeg=0., noise=.003))
            g = torch.Generator().manual_seed(s)
            m = make_motion(3, yaw=.6*torch.rand(3, generator=g) - .3, pitch=.3*torch.rand(3, generator=g) - .15)
            image, bones = render(i, m, size).image, build_person(i).body.bones(m)
            seen = [track([x], tracker=tracker).landmarks[0, :, :2]/(size/2) - 1 for x in image]
            out.append((i, m, bones, torch.from_numpy(np.stack(seen)).float()))
            forget_people()
    return out


def missing(seen):
    "Median over all pictures of what is missing (468, 3), in the person's frame"
    d = []
    for i, m, bones, marks in seen:
        true = to_screen(Body(i).landmarks(m, bones), i.scene.distance)[:, :468, :2]
        s, R, _ = P.split(bones[:, 4])
        gap = torch.cat([marks[:, :468] - true, torch.zeros(len(true), 468, 1)], 2)
        d.append((gap @ R)/s[:, None, None])
    d = torch.cat(d)
    return d[d.isfinite().all(2).all(1)].median(0).values


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('out', help='npy file to write')
    ap.add_argument('--people', type=int, default=60)
    ap.add_argument('--size', type=int, default=256, help='of the pictures, px')
    ap.add_argument('--rounds', type=int, default=4)
    a = ap.parse_args()
    kit, flip, mirror = load_kit(), torch.from_numpy(flip_index()[:468]), torch.tensor([-1., 1, 1])
    tri, seen = kit.tri[1][kit.part[1] == SKIN], see(a.people, a.size)
    for _ in range(a.rounds):
        d = missing(seen)
        p = kit.landmarks + d
        t, w = nearest_on_surface((p + p[flip]*mirror)/2, kit.rest, tri)
        kit.landmarks = (kit.rest[tri[t]]*w[..., None]).sum(1)
        landmark_places.cache_clear()
        print(f'moved by {d.norm(dim=1).mean():.4f} dm on average')
    np.save(a.out, kit.landmarks.numpy())


if __name__ == '__main__': main()
