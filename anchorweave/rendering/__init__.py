"""Rendering: from a memory's points to what target cameras see of it (paper section 3.3)."""

from anchorweave.rendering.anchor_video import RenderConfig, render_anchor
from anchorweave.rendering.point_splat import Splat

__all__ = ["RenderConfig", "Splat", "render_anchor"]
