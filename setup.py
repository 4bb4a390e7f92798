"Packaging: every setting lives in settings.ini, which nbdev reads too"
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=["="])
ini.read(here/"settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]

setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"], author=cfg["author"],
    long_description=(here/"README.md").read_text(encoding="utf-8"), long_description_content_type="text/markdown",
    license=cfg["license"], keywords=cfg["keywords"], url=cfg["git_url"],
    classifiers=["Programming Language :: Python :: 3", "Operating System :: OS Independent"],
    python_requires=f">={cfg['min_python']},<3.13",
    packages=find_packages(include=[cfg["lib_path"], cfg["lib_path"] + ".*"]),
    package_data={"": ["*.npz"]},
    install_requires=shlex.split(cfg["requirements"]),
    extras_require={"export": shlex.split(cfg["export_requirements"]), "browser": shlex.split(cfg["browser_requirements"]),
                    "studio": shlex.split(cfg["studio_requirements"]), "explorer": shlex.split(cfg["explorer_requirements"]),
                    "speech": shlex.split(cfg["speech_requirements"]),
                    "dev": shlex.split(" ".join(cfg[f"{k}_requirements"] for k in ("dev", "export", "studio", "explorer", "speech")))},
    entry_points={"nbdev": [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"],
                  "console_scripts": shlex.split(cfg["console_scripts"])},
)
