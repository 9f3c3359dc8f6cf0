"""Owns the frame of a page: one file that opens offline. Its style and script are inline, and its
content security policy forbids every request. Looks belong to `style.css`."""

import base64
import hashlib
from pathlib import Path

from bigjax.report import charts
from bigjax.report.sections import escape


def document(blocks: list[tuple[str, str]], *, header: str, title: str) -> str:
    """A whole page of blocks (title, HTML), its style and script inline."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    digests = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", charts.HOVER_SCRIPT))
    }
    policy = "default-src 'none'; img-src data:; " + "; ".join(
        f"{kind}-src 'sha256-{digest}'" for kind, digest in digests.items()
    )
    links = "".join(f'<a href="#s{i}">{escape(name)}</a>' for i, (name, _) in enumerate(blocks))
    body = "\n".join(
        f'<section id="s{i}"><h2>{escape(name)}</h2>\n{inner}</section>'
        for i, (name, inner) in enumerate(blocks)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>{header}<nav aria-label="Sections">{links}</nav></header>
<main>
{body}
</main>
<script>{charts.HOVER_SCRIPT}</script>
</body>
</html>
"""


def figures(named: list[tuple[str, str, str]]) -> str:
    """Big figures: name, number (safe already) and what it is of."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{number} <small>{escape(of)}</small></dd></div>"
        for name, number, of in named
    )
    return f'<dl class="figures">{items}</dl>'
