"""Reads a page as a browser would, and refuses what a browser would mend."""

import base64
from html.parser import HTMLParser

from anchorweave.evaluation.markup import VOID


class Page(HTMLParser):
    """All elements as (tag, attributes), the text of each kind of element, and videos by name."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> names an attribute twice: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for tag in set(self.open):
            self.text[tag] = self.text.get(tag, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def from_elsewhere(self):
        """What the page would load or lead to, other than itself and data within it."""
        loading = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")
        return [
            (tag, name, value)
            for tag, attributes in self.elements
            for name, value in attributes.items()
            if name in loading and not value.startswith(("data:video/mp4;base64,", "#"))
        ]

    def videos(self):
        """The bytes of every video, with its name, in the order of the page."""
        return [
            (v["aria-label"], base64.b64decode(v["src"].partition(",")[2], validate=True))
            for v in self.all("video")
        ]
