"""A page looked at in a real browser, at some width."""

import html
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The page is framed at the width, since a window has a least width; what it looks like is left in the outer page.
FRAME = """<!doctype html><style>body {{ margin: 0 }} iframe {{ width: {width}px; height: 900px; border: 0 }}</style>
<iframe id="page"></iframe>
<script>
const frame = document.getElementById("page");
const look = () => {{
  const inner = frame.contentWindow, page = inner.document, shown = each => each.getClientRects().length > 0;
  const images = [...page.images], texts = [...page.querySelectorAll("svg text, td, th, p, dd, dt, small, li")];
  const size = each => {{
    const drawn = each.ownerSVGElement;
    const scale = drawn ? drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width : 1;
    return parseFloat(inner.getComputedStyle(each).fontSize) * scale;
  }};
  const outside = [...page.querySelectorAll("svg text")].filter(shown).filter(each => {{
    const mine = each.getBoundingClientRect(), drawn = each.ownerSVGElement.getBoundingClientRect();
    return mine.left < drawn.left - 1 || mine.right > drawn.right + 1 || mine.top < drawn.top - 1;
  }});
  document.title = JSON.stringify({{
    num_images: images.length,
    missing_images: images.filter(each => !(each.complete && each.naturalWidth)).map(each => each.alt),
    scroll_width: page.documentElement.scrollWidth,
    smallest_text_px: Math.min(...texts.filter(shown).map(size)),
    outside: outside.map(each => each.textContent),
  }});
}};
frame.onload = () => setTimeout(look, 300);
frame.src = {address};
</script>"""


@dataclass(frozen=True)
class Sight:
    """What was to be seen; `outside` are texts that leave their figure."""

    console: list[str]
    num_images: int
    missing_images: list[str]
    scroll_width: int
    smallest_text_px: float
    outside: list[str]


class Browser:
    """Chromium without a window."""

    def __call__(self, page: Path, width: int) -> Sight:
        frame = page.with_suffix(".frame.html")
        frame.write_text(FRAME.format(width=width, address=json.dumps(page.name)))
        words = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--disable-dev-shm-usage",
        ]
        words += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1400,1000", "--dump-dom"]
        done = subprocess.run(["chromium", *words, frame.as_uri()], capture_output=True, text=True, timeout=120)
        console = re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr)
        title = re.search(r"<title>(.*?)</title>", done.stdout)
        assert title is not None, done.stderr[-2000:]
        found: dict[str, Any] = json.loads(html.unescape(title[1]))
        return Sight(console, **found)
