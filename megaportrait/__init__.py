"MegaPortraits: animate one photograph with the motion of any video"
__version__ = "0.1.0"


def load(name, device="cpu"):
    "A trained model, ready for use: a run folder, or the name of weights that the repository ships"
    from .base import load_model
    return load_model(name, device)
