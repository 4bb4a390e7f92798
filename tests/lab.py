"""A JupyterLab of its own in a headless Chromium: open a notebook, run it, use its widgets as a hand would.

Nothing outside is touched: a free port of the loopback, a token, settings and runtime files in a temporary folder; the notebook is never saved.
"""
import base64, json, os, re, secrets, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"docmanager-extension/plugin": dict(autosave=False), "notebook-extension/tracker": dict(windowingMode="none"),
            "apputils-extension/notification": dict(fetchNews="false", checkForUpdates=False)}
HARMLESS = re.compile(r"favicon\.ico|React DevTools")  # said by JupyterLab itself, whatever the notebook does
PANEL = "const panel = jupyterapp.shell.currentWidget;"


def chromium():
    "The browser at hand, or none"
    return next((o for o in map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")) if o), None)


def needs(*packages):
    "Skip the module or test that calls this without these packages and a browser; with NEED_BROWSER set, as in the job for them, that is a failure"
    lack = [f"no {k}: pip install -e '.[browser,explorer,studio,space]'" for k in ("playwright", *packages) if not find_spec(k)]
    if not chromium(): lack.append("no chromium: install one, or name it in $CHROMIUM")
    if lack and os.environ.get("NEED_BROWSER"): pytest.fail(lack[0])
    if lack: pytest.skip(lack[0], allow_module_level=True)


class Lab:
    "JupyterLab and a browser that looks at one of its notebooks"
    def __init__(self, wait=300): # seconds, at most, for any one thing
        self.wait, self.tmp, self.said = wait*1000, Path(tempfile.mkdtemp(prefix="lab-")), []
        for name, value in SETTINGS.items():
            p = self.tmp/f"JUPYTERLAB_SETTINGS_DIR/@jupyterlab/{name}.jupyterlab-settings"
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_text(json.dumps(value))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.token, self.url = secrets.token_hex(16), f"http://127.0.0.1:{port}"

    def __enter__(self):
        from playwright.sync_api import sync_playwright
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.tmp, ignore_errors=True)
            log = stack.enter_context(open(self.tmp/"log", "wb"))
            self.server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *self._options()], env=self._environment(), start_new_session=True,
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(self._stop)
            self._until(self._answers)
            play = stack.enter_context(sync_playwright())
            browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--no-proxy-server"])
            stack.callback(browser.close)
            self.page = browser.new_page(viewport=dict(width=1400, height=1000))
            self.stack = stack.pop_all()
        self.page.set_default_timeout(self.wait)
        self.page.on("console", lambda m: m.type == "error" and self._hear(m.text + m.location.get("url", "")))
        self.page.on("pageerror", lambda e: self._hear(str(e)))
        return self

    def __exit__(self, *_): self.stack.close()

    def _options(self):
        return ["--no-browser", "--allow-root", f"--port={self.url.rsplit(':')[-1]}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={ROOT}",
                f"--FileCheckpoints.checkpoint_dir={self.tmp}", "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
                "--LabApp.news_url=None"]

    def _environment(self):
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return os.environ | {k: str(self.tmp/k) for k in names} | dict(JUPYTER_TOKEN=self.token, PYTHONPATH=path)

    def _ask(self, what, **kw): return urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/{what}?token={self.token}", **kw), timeout=10)

    def _stop(self):
        "End the server, and with it the kernels that it started"
        try: self._ask("shutdown", method="POST")
        except OSError: self.server.terminate()
        try: self.server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()

    def _hear(self, text):
        if not HARMLESS.search(text): self.said.append(text.replace(self.token, "TOKEN"))

    def _answers(self):
        if self.server.poll() is not None: raise RuntimeError((self.tmp/"log").read_text()[-2000:])
        try: return self._ask("status")
        except OSError: return False

    def _until(self, done):
        end = time.time() + self.wait/1000
        while not done():
            if time.time() > end: raise TimeoutError(f"{done.__name__}: not within {self.wait/1000:.0f} s")
            time.sleep(.1)

    def open(self, notebook): # path from the top of the repository
        "Open a notebook and start its kernel"
        self.page.goto(f"{self.url}/doc/tree/{notebook}?token={self.token}&reset")
        self.page.wait_for_function(f"""() => {{ if (!window.jupyterapp) return false;
            {PANEL} return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle' }}""")
        self.page.evaluate(f"""() => {{ {PANEL} window.told = []; panel.sessionContext.iopubMessage.connect((_, m) => {{
            if (m.header.msg_type === 'error') window.told.push(m.content.ename + ': ' + m.content.evalue) }}) }}""")

    def run_all(self):
        "Run every cell in order; the errors in their outputs"
        for command in ("editmenu:clear-all", "notebook:run-all-cells"): self.page.evaluate("async o => { await jupyterapp.commands.execute(o) }", command)
        self.settle()
        return self.page.evaluate(f"""() => {{ {PANEL} const outputs = panel.content.widgets.flatMap(c => c.model.toJSON().outputs || []);
            return outputs.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue) }}""")

    def settle(self):
        "Wait until the kernel has been idle for two thirds of a second"
        self.page.evaluate(f"""async () => {{ {PANEL} const kernel = panel.sessionContext.session.kernel;
            for (let quiet = 0; quiet < 20; quiet = kernel.status === 'idle' ? quiet + 1 : 0) await new Promise(f => setTimeout(f, 33)) }}""")

    def slider(self, label):
        "The handle of the slider of this description"
        return self.page.locator(f".widget-slider:has(.widget-label:text-is('{label}')) .noUi-handle").first

    def value(self, label): return float(self.slider(label).get_attribute("aria-valuetext"))

    def set(self, label, value):
        "Put a slider to a value of its scale, by the arrow keys"
        h, old = self.slider(label), None
        h.focus()
        while (now := self.value(label)) != old and abs(now - value) > 1e-6:
            h.press("ArrowRight" if now < value else "ArrowLeft")
            old = now
        assert abs(self.value(label) - value) < 1e-6, f"{label} is at {self.value(label)}, not at {value}"
        self.settle()

    def drop(self, css, path):
        "Let go of a file above an element, as from a file manager"
        box = self.page.locator(css).first
        box.scroll_into_view_if_needed()
        b, tools = box.bounding_box(), self.page.context.new_cdp_session(self.page)
        at = dict(x=b["x"] + b["width"]/2, y=b["y"] + b["height"]/2, data=dict(items=[], files=[str(path)], dragOperationsMask=1))
        for what in ("dragEnter", "dragOver", "drop"): tools.send("Input.dispatchDragEvent", dict(type=what, **at))
        tools.detach()

    def image(self, css):
        "The bytes that an image widget shows"
        code = """async o => { const bytes = new Uint8Array(await (await fetch(o.src)).arrayBuffer());
            return btoa(Array.from(bytes, c => String.fromCharCode(c)).join('')) }"""
        return base64.b64decode(self.page.locator(css).first.evaluate(code))

    def latency(self, label, key, css):
        "Milliseconds from a key press on a slider to the first new picture in an image widget, and to the last"
        h = self.slider(label)
        h.focus()
        self.page.evaluate("""css => { window.took = []; addEventListener('keydown', () => { const start = performance.now();
            document.querySelector(css).onload = () => window.took.push(performance.now() - start) }, {once: true, capture: true}) }""", css)
        h.press(key)
        self.page.wait_for_function("() => window.took.length")
        self.settle()
        return self.page.evaluate("() => [window.took[0], window.took.at(-1)]")

    def drawing_latency(self, label, key):
        "Milliseconds from a key press on a slider until WebGL has drawn for the last time"
        h = self.slider(label)
        h.focus()
        self.page.evaluate("""() => { window.drawn = []; const gl = WebGL2RenderingContext.prototype;
            for (const name of ['drawElements', 'drawArrays', 'drawElementsInstanced', 'drawArraysInstanced']) { gl['own_' + name] ??= gl[name];
                gl[name] = function (...o) { window.drawn.push(performance.now()); return gl['own_' + name].apply(this, o) } }
            addEventListener('keydown', () => { window.pressed = performance.now(); window.drawn = [] }, {once: true, capture: true}) }""")
        h.press(key)
        self.page.wait_for_function("() => window.drawn.length")
        self.settle()
        self.page.wait_for_timeout(500)
        return self.page.evaluate("() => window.drawn.at(-1) - window.pressed")

    def errors(self):
        "What the console said, and the errors that the kernel told of, those of a widget's callbacks among them"
        return self.said + self.page.evaluate("() => window.told")
