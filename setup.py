"Packaging: every setting lives in settings.ini, which nbdev reads too"
import shlex, shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
ini = ConfigParser(delimiters=["="])
ini.read(here/"settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]
extras = {k.removesuffix("_requirements"): shlex.split(v) for k, v in cfg.items() if k.endswith("_requirements")}
extras["dev"] += [o for k in ("export", "studio", "explorer", "speech", "credentials", "photo") for o in extras[k]]


class WithData(build_py):
    "An installed package has the weights and the synthetic set with it, as a checkout has them beside it"
    def run(self):
        super().run()
        if self.editable_mode: return
        for part in ("weights", "synthetic"):
            shutil.copytree(here/"data"/part, Path(self.build_lib)/cfg["lib_name"]/"shipped"/part, dirs_exist_ok=True)


setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"], author=cfg["author"],
    long_description=(here/"README.md").read_text(encoding="utf-8"), long_description_content_type="text/markdown",
    license=cfg["license"], keywords=cfg["keywords"], url=cfg["git_url"],
    classifiers=["Programming Language :: Python :: 3", "Operating System :: OS Independent"],
    python_requires=f">={cfg['min_python']},<3.13",
    packages=find_packages(include=[cfg["lib_path"], cfg["lib_path"] + ".*"]),
    package_data={"": ["*.npz"]}, cmdclass=dict(build_py=WithData),
    install_requires=shlex.split(cfg["requirements"]),
    extras_require=extras,
    entry_points={"nbdev": [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"],
                  "console_scripts": shlex.split(cfg["console_scripts"])},
)
