"""Sound photos, videos and tables that a test makes, and ways in which they are spoiled on their way to a user."""
import io, json
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
from PIL import Image

PHOTOS = {".jpg": ("JPEG", ("RGB", "L", "CMYK")), ".png": ("PNG", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")), ".webp": ("WEBP", ("RGB", "RGBA")),
          ".gif": ("GIF", ("P", "L")), ".bmp": ("BMP", ("RGB", "L")), ".tif": ("TIFF", ("RGB", "L", "F", "I", "I;16")), ".avif": ("AVIF", ("RGB",)), ".jp2": ("JPEG2000", ("RGB",))}
VIDEOS = {".mp4": ("libx264", "aac"), ".mkv": ("libx264", "pcm_s16le"), ".ts": ("mpeg2video", "mp2"), ".mov": ("mpeg4", "aac"), ".avi": ("mjpeg", "mp2"), ".flv": ("libx264", None)}


@lru_cache(None)
def photo(end, mode, width, height, seed):
    "The bytes of a picture, smooth with a few edges"
    r = np.random.default_rng(seed)
    x = np.asarray(Image.fromarray(r.integers(0, 256, (3, 4, 3), np.uint8)).resize((width, height), Image.BICUBIC))
    im = Image.fromarray(x)
    grey = np.asarray(im.convert("L"))
    odd = {"I;16": np.uint16(257)*grey, "F": grey/np.float32(255), "I": grey.astype(np.int32)*257}
    im = Image.fromarray(odd[mode]) if mode in odd else im.convert("L").convert(mode) if mode == "LA" else im.convert(mode)
    out = io.BytesIO()
    im.save(out, PHOTOS[end][0])
    return out.getvalue()


@lru_cache(None)
def video(end, frames, rate, sound):
    "The bytes of a video of a moving bar, perhaps with a tone"
    codec, voice = VIDEOS[end]
    out = io.BytesIO()
    with av.open(out, "w", format={".ts": "mpegts", ".mkv": "matroska"}.get(end, end[1:])) as f:
        s = f.add_stream(codec, rate=rate)
        s.width, s.height, s.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        a = f.add_stream(voice, rate=32000, layout="mono") if sound and voice else None
        for k in range(frames):
            x = np.full((48, 64, 3), 60, np.uint8)
            x[:, 4*k % 56:4*k % 56 + 8] = 200, 150, 90
            f.mux(s.encode(av.VideoFrame.from_ndarray(x, format="rgb24")))
        f.mux(s.encode(None))
        if a:
            for k in range(0, int(32000*frames/rate), 1152):
                o = av.AudioFrame.from_ndarray((np.sin(np.arange(k, k + 1152)/9)*9000).astype(np.int16)[None], format="s16", layout="mono")
                o.rate, o.pts, o.time_base = 32000, k, Fraction(1, 32000)
                f.mux(a.encode(o))
            f.mux(a.encode(None))
    return out.getvalue()


def spoiled(data, way, where, seed):
    "Bytes after an accident: cut off, bytes changed, a hole of zeros, a part twice, text before it"
    r, n = np.random.default_rng(seed), len(data)
    at = int(where*n)
    if way == "cut": return data[:at]
    if way == "bytes":
        b = bytearray(data)
        for k in r.integers(0, max(n, 1), 1 + at % 40): b[k] = r.integers(0, 256)
        return bytes(b)
    if way == "hole": return data[:at] + bytes(min(2000, n - at)) + data[at + 2000:]
    if way == "twice": return data[:at] + data[at//2:]
    if way == "text": return b"<html>not found</html>" + data[at:]
    return data


WAYS = "whole", "cut", "bytes", "hole", "twice", "text"


def table(rows, kind, mark, encoding, upper, line):
    "Bytes of a table of rows, as one of many programs writes it"
    if kind == "json": return json.dumps(rows).encode()
    head = [k.upper() if upper else k for k in rows[0]]
    text = line.join(mark.join(f'"{o}"' if set(o) & set(mark + '"\n\r;,\t|') else o for o in row) for row in [head, *([r[k] for k in rows[0]] for r in rows)]) + line
    return text.encode(encoding)
