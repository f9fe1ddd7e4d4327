"""ExploreConfig: a run whose memory is explored, and where its page is served."""

from __future__ import annotations

from dataclasses import dataclass

from anchorweave.run_config import RunConfig


@dataclass(frozen=True)
class ExploreConfig(RunConfig):
    """Options of the explorer.

    Args:
        host: address to serve the page at; 127.0.0.1 is reachable from this machine only, 0.0.0.0
            from anywhere.
        port: port of the page; the next free one if it is taken, 0 = any.
        every: without `memory.path`, every `every`-th frame of the recording is remembered.
        points: maximum number of points drawn, divided evenly among memories.
        live: minimum interval between two live retrievals of one browser, in seconds.

    Raises:
        ValueError: a value out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    every: int = 3
    points: int = 400_000
    live: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port={self.port} must be in 0..65535")
        for name in ("every", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more")
        if not 0 <= self.live <= 60:
            raise ValueError(f"live={self.live} must be in 0..60 seconds")
