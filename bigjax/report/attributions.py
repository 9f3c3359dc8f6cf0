"""Owns how it looks what each part of an input did for what was said of it: words in two colours,
an image beside its map."""

import html
from collections.abc import Mapping
from typing import Any

NUM_LEVELS = 5
_NAMED = 0.05  # of the largest: words that did less have no number beneath, only when pointed at


def figure(item: Mapping[str, Any]) -> str:
    """HTML of one thing that was said.

    Args:
      item: said, for people; score, baseline, error, num_points as `Attribution` has them; and
        either pieces, [text, what it did or None, whether it is what was asked about], or png,
        map_png (base64), width and height.
    """
    caption = f"<b>{html.escape(item['said'])}</b> <span>{html.escape(in_words(item))}</span>"
    body = _words(item) if "pieces" in item else _images(item)
    return f'<figure class="attribution"><figcaption>{caption}</figcaption>{body}</figure>'


def in_words(item: Mapping[str, Any]) -> str:
    """What the parts sum to, and how exactly."""
    score, baseline = signed(item["score"]), signed(item["baseline"])
    return (
        f"log-probability {score}, without the input {baseline}; the parts sum to the difference, "
        f"{abs(item['error']):.2f} aside ({item['num_points']} points)"
    )


def signed(value: float) -> str:
    """With its sign, and a minus that is one."""
    shown = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "0.00" if shown[1:] == "0.00" else shown


def _words(item: Mapping[str, Any]) -> str:
    most = max([abs(value) for _, value, _ in item["pieces"] if value is not None], default=0.0)
    shown = "".join(_word(*piece, most=most or 1.0) for piece in item["pieces"])
    return f'<p class="parts" dir="auto">{shown}</p>'


def _word(text: str, value: float | None, asked: bool, *, most: float) -> str:
    if value is None:
        return html.escape(text)
    share = abs(value) / most
    side, level = ("for" if value > 0 else "against"), round(share * NUM_LEVELS)
    classes = " ".join([*([f"{side}-{level}"] if level else []), *(["asked"] if asked else [])])
    number = f"<small>{signed(value)}</small>" if share >= _NAMED else "<small></small>"
    return (
        f'<span class="part {classes}" title="{signed(value)}"><span>{html.escape(text)}</span>'
        f"{number}</span>"
    )


def _images(item: Mapping[str, Any]) -> str:
    size = f'width="{item["width"]:d}" height="{item["height"]:d}"'
    shown = "".join(
        f'<img src="data:image/png;base64,{html.escape(item[name])}" {size} alt="{alt}">'
        for name, alt in (("png", "the image"), ("map_png", "what each pixel did"))
    )
    return f'<p class="pictures">{shown}</p>'
