"MegaPortraits: animate one photograph with the motion of any video"
__version__ = "0.1.0"


def load(name, device="cpu"):
    "A trained model of any stage, ready for use: a run folder, or the name of weights that the repository ships"
    from importlib import import_module
    from .base import model_folder
    from .core import load_json
    from .motion import PoseNet
    from .ours import load_net, ours
    from .weights import find
    folder = model_folder(name)
    home = dict(base="base", hr="highres", student="student")  # stage and the module that loads it
    stage = load_json(folder/"config.json").get("stage", "base")
    if stage not in home: raise ValueError(f"{folder}/config.json is of stage '{stage}', which this version does not know; it knows {', '.join(home)}")
    model = import_module(f".{home[stage]}", __name__).load_model(folder, device)
    if hasattr(model, "pose_net") and find(ours["pose"]): model.pose_net = load_net("pose", PoseNet, device=device)  # for pictures without a pose
    return model
