"""Write the speech that the repository ships; needs the extra `speech`

    python data/make_speech.py [FOLDER]
"""
import sys
from pathlib import Path

from megaportrait.data.speech import sample_speech, write_speech

MINUTES = dict(train=40, eval=5)


def clips(minutes, held):
    "So much speech, and what the last clip has more"
    out = []
    while sum(c.seconds for c in out) < 60*minutes: out.append(sample_speech(len(out), held))
    return out


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent/"speech"
    for split, minutes in MINUTES.items(): write_speech(folder, split, clips(minutes, held=split == "eval"))
