"MegaPortraits: animate one photograph with the motion of any video"
__version__ = "0.1.0"
