"MegaPortraits: animate one photograph with the motion of any video"
__version__ = "0.1.0"
# what the first day needs, imported when it is asked for
_HOMES = dict(load="train.run", animate="use.animate", presets="mega.config")


def __getattr__(name):
    from importlib import import_module
    if name in _HOMES: return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *_HOMES])
